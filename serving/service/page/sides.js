// Where two lists find no room beside each other, one is shown at a time; these buttons say which.

import { element, fill, foreign } from "./dom.js"
import { say } from "./words.js"

/** Draws the buttons over two lists; `lists` = the element that holds them, whose `data-side` the style sheet reads. */
export function drawSides(at, lists, models, after) {
  lists.dataset.side ??= "a"
  const button = (model, side) =>
    element(
      "button",
      { type: "button", "aria-pressed": String(lists.dataset.side === side), onclick: () => turn(side) },
      foreign(model),
    )
  const turn = side => {
    lists.dataset.side = side
    drawSides(at, lists, models, after)
    at.querySelector("[aria-pressed=true]").focus()
    after()
  }
  at.hidden = models.length < 2
  at.setAttribute("aria-label", say("whichList"))
  fill(at, models.length < 2 ? null : models.map((model, n) => button(model, "ab"[n])))
}
