// The help: which keys there are, and how to read the page.

import { element, fill } from "./dom.js"
import { say } from "./words.js"

const KEYS = [
  ["/", "keySearch"],
  ["↑ ↓", "keyWalk"],
  ["← →", "keyAcross"],
  ["Enter", "keyOpen"],
  ["Esc", "keyLeave"],
  ["?", "keyHelp"],
]
const NOTES = ["noteBars", "noteMissing", "noteRanking", "notePnr", "noteMoves", "noteLink"]

/** Opens the dialog; the browser keeps the focus within it and gives it back. */
export function openHelp(dialog) {
  fill(
    dialog,
    element("h2", { id: "help-name" }, say("keys")),
    element(
      "dl",
      { class: "keys" },
      KEYS.map(([keys, told]) => [
        element(
          "dt",
          {},
          keys.split(" ").map(key => element("kbd", {}, key)),
        ),
        element("dd", {}, say(told)),
      ]),
    ),
    element("h2", {}, say("reading")),
    element(
      "ul",
      {},
      NOTES.map(name => element("li", {}, say(name))),
    ),
    element("p", {}, element("button", { type: "button", class: "main", onclick: () => dialog.close() }, say("close"))),
  )
  dialog.setAttribute("aria-labelledby", "help-name")
  dialog.showModal()
  return true
}
