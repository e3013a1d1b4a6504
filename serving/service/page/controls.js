// What the reader may choose of a search: the model, the one to compare with, the space that finds, how many, which
// bars.

import { element, fill } from "./dom.js"
import { BARS, modelOf, sizes } from "./state.js"
import { say } from "./words.js"

/**
 * Draws the row of choices. `change(part, isSearch)` takes what was chosen; `isSearch` = something else must be found.
 */
export function drawChoices(at, state, offer, change) {
  const models = offer.models.map(model => model.name)
  const { spaces } = modelOf(offer, state.model)
  const others = models.filter(name => name !== state.model)
  const pick = (name, options, value, then) => choice(name, options, value, event => then(event.target.value))
  const focused = document.activeElement?.id
  fill(
    at,
    models.length > 1 &&
      pick("model", same(models), state.model, value =>
        change({ model: value, versus: state.versus === value ? state.model : state.versus }, true),
      ),
    models.length > 1 &&
      pick("versus", [["", say("nobody")], ...same(others)], state.versus ?? "", value =>
        change({ versus: value || null }, true),
      ),
    offer.isJudged &&
      pick(
        "among",
        ["all", "judged"].map(name => [name, say(`among_${name}`)]),
        state.among,
        value => change({ among: value }, true),
      ),
    pick("foundBy", same(spaces), state.space, value => change({ space: value }, true)),
    pick("top", same(sizes(offer)), state.k, value => change({ k: Number(value) }, true)),
    pick("bars", [["", say("barsUsual")], ...BARS.map(name => [name, say(`bars_${name}`)])], state.bars ?? "", value =>
      change({ bars: value || null }, false),
    ),
  )
  if (focused?.startsWith("choice-")) document.getElementById(focused)?.focus()
}

const same = values => values.map(value => [String(value), String(value)])

function choice(name, options, value, onchange) {
  const drawn = options.map(([own, text]) => element("option", { value: own, selected: own === String(value) }, text))
  return element(
    "label",
    { class: `choice choose-${name}` },
    element("span", {}, say(name)),
    element("select", { id: `choice-${name}`, onchange }, drawn),
  )
}
