// How the list is ordered: by one feature, or by the sum of several; it is the legend of the colours as well.

import { element, fill, foreign, unseen } from "./dom.js"
import { byGroup, colourOf, short, written } from "./features.js"
import { pnr, rank } from "./ranking.js"
import { say, sayRanking } from "./words.js"

const WAYS = ["one", "z", "sum"]
const MOST = 9

/** The panel is drawn anew only when its parts change, so that a number which is being typed stays as it is. */
export class RankingPanel {
  constructor(at, summary, change) {
    Object.assign(this, { at, summary, change, kept: {} })
  }

  show(how, names, definitions, found, language) {
    this.how = how
    const parts = JSON.stringify([how.by, names, language])
    if (parts !== this.parts) this.redraw(how.by, names, definitions)
    this.parts = parts
    fill(this.summary, say("rankedBy"), " ", element("b", {}, foreign(sayRanking(how))))
    for (const [name, row] of this.rows) {
      const weight = how.weights[name]
      row.box.checked = weight !== undefined
      row.node.classList.toggle("off", weight === undefined)
      if (row.weight && row.weight !== document.activeElement) row.weight.value = weight ?? ""
      this.measure(row, name, found)
    }
  }

  /** Says how well each feature alone orders what is shown, where there are grades. */
  measure(row, name, found) {
    const has = found?.names.includes(name)
    const alone = has ? pnr(rank(found.docs, found.names, { by: "one", weights: { [name]: 1 } })) : null
    fill(row.alone, alone && [unseen(say("pnrAlone")), written(alone.value)])
  }

  /** Draws it anew; who was choosing the way of ranking goes on there. */
  redraw(by, names, definitions) {
    const wasChoosing = document.activeElement?.name === "by" && this.at.contains(document.activeElement)
    this.draw(by, names, definitions)
    if (wasChoosing) this.at.querySelector("input[name=by]:checked").focus()
  }

  draw(by, names, definitions) {
    this.rows = new Map()
    const ways = WAYS.map(way =>
      element(
        "label",
        {},
        element("input", {
          type: "radio",
          name: "by",
          value: way,
          checked: way === by,
          onchange: () => this.turn(way),
        }),
        element("span", {}, say(`by_${way}`)),
      ),
    )
    const groups = Object.entries(byGroup(names)).filter(([, own]) => own.length)
    fill(
      this.at,
      element("fieldset", { class: "ways" }, element("legend", { class: "unseen" }, say("rankedBy")), ways),
      element("p", { class: "hint" }, say(`hint_${by}`)),
      groups.map(([group, own], n) =>
        element(
          "fieldset",
          {},
          element(
            "legend",
            {},
            say(group),
            n ? null : element("small", { "aria-hidden": "true", title: say("pnrAlone") }, "PNR"),
          ),
          own.map(name => this.row(name, by, say("about", name, definitions.get(name)))),
        ),
      ),
    )
  }

  row(name, by, definition) {
    const isOne = by === "one"
    const box = element("input", {
      type: isOne ? "radio" : "checkbox",
      name: isOne ? "feature" : null,
      onchange: event => this.pick(name, event.target.checked ? 1 : 0),
    })
    const weight = isOne
      ? null
      : element("input", {
          type: "number",
          class: "weight",
          step: 0.5,
          min: -MOST,
          max: MOST,
          "aria-label": say("weightOf", name),
          oninput: event => this.pick(name, event.target.valueAsNumber),
        })
    const alone = element("span", { class: "alone" })
    const label = element(
      "label",
      { title: `${name}: ${definition}` },
      box,
      element("span", { class: "swatch" }),
      foreign(short(name)),
    )
    const node = element("div", { class: `feature ${colourOf(name)}` }, label, alone, weight)
    this.rows.set(name, { box, weight, alone, node })
    return node
  }

  /** Goes to another way of ranking; each keeps what was chosen in it. */
  turn(way) {
    this.kept[this.how.by] = this.how.weights
    this.change({ by: way, weights: this.kept[way] ?? null })
  }

  pick(name, weight) {
    if (Number.isNaN(weight) || Math.abs(weight) > MOST) return
    const { [name]: _, ...others } = this.how.weights
    const kept = this.how.by === "one" ? {} : others
    this.change({ weights: weight === 0 ? kept : { ...kept, [name]: weight } })
  }
}
