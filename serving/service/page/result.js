// A result: its place, picture, title, marks and bars. It is made once and then moved and brought up to date.

import { showCover } from "./api.js"
import { element, fill, foreign, unseen } from "./dom.js"
import { byGroup, colourOf, extent, short, written } from "./features.js"
import { say } from "./words.js"

/**
 * Makes the row of a document. `actions.toggle(docId)` opens and closes why it stands there; the row keeps what it
 * holds while that changes around it.
 */
export function makeRow(doc, side, model, actions) {
  const id = `why-${side}-${doc.found}`
  const place = element("span", { class: "place" })
  const opener = element(
    "button",
    { type: "button", class: "opener", "aria-expanded": "false", "aria-controls": id },
    titleOf(doc),
  )
  const moved = element("span", { class: "moved" })
  const bars = element("div", { class: "bars" })
  const why = element("div", { class: "why", id, hidden: true })
  const head = element(
    "div",
    { class: "head", onclick: event => event.target.closest("button") || isSelecting() || actions.toggle(doc.doc_id) },
    place,
    cover(doc, model),
    element("div", { class: "words" }, opener, foreign(doc.doc_id, { class: "id" })),
    element("div", { class: "marks" }, grade(doc.grade), moved),
    bars,
  )
  opener.addEventListener("click", () => actions.toggle(doc.doc_id))
  const node = element("li", { class: "result" }, head, why)
  return { node, opener, why, place, moved, bars, doc }
}

const isSelecting = () => String(getSelection()) !== ""

/** The title of a document; a video without one is named by its id, and says so. */
function titleOf(doc) {
  return doc.title ? foreign(doc.title, { class: "title" }) : element("i", { class: "title untitled" }, say("untitled"))
}

/** The picture of a document, or a place that says there is none. */
export function cover(doc, model) {
  const nothing = () => element("span", { class: "cover nothing", "aria-hidden": "true" }, say("noCover"))
  if (!doc.has_cover) return nothing()
  const image = element("img", { class: "cover", alt: "", width: 72, height: 72, decoding: "async", loading: "lazy" })
  image.addEventListener("error", () => image.replaceWith(nothing()))
  showCover(image, doc.doc_id, model)
  return image
}

/** A grade that a person gave, as a small badge. */
export function grade(value) {
  if (value === null) return null
  const told = say("gradeOf", value)
  return element(
    "span",
    { class: `badge grade${Math.min(value, 4)}`, title: told },
    unseen(`${told} `),
    element("span", { "aria-hidden": "true" }, value),
  )
}

/** How a result moved, as `movement.js` says; nothing where there is nothing to compare with. */
export function showMove(at, move) {
  at.className = `moved ${move?.kind ?? ""}`
  at.title = move?.told ?? ""
  fill(at, move && [element("span", { "aria-hidden": "true" }, move.sign), unseen(move.told)])
}

/** Draws the features of a row, if other ones are shown or their scale is another; marks those that rank. */
export function drawBars(row, names, { shown, scale, ranking }) {
  const key = JSON.stringify([shown, scale])
  if (row.drawn !== key) {
    const own = shown.filter(name => names.includes(name))
    row.bar = new Map(own.map(name => [name, bar(name, row.doc.values[names.indexOf(name)], scale)]))
    const groups = Object.entries(byGroup(own)).filter(([, some]) => some.length)
    fill(
      row.bars,
      groups.map(([group, some]) => column(group, some, row.bar)),
    )
  }
  row.drawn = key
  for (const [name, node] of row.bar) node.classList.toggle("ranks", ranking.has(name))
}

const column = (group, names, bars) =>
  element(
    "dl",
    { class: `group ${group}`, vars: { lines: Math.ceil(names.length / 2) } },
    names.map(name => bars.get(name)),
  )

/** One feature: its name, its bar from zero, and its value. */
function bar(name, value, scale) {
  const missing = value === null
  const sizes = missing ? {} : extent(value, scale)
  return element(
    "div",
    {
      class: `bar ${colourOf(name)}${missing ? " missing" : ""}`,
      title: `${name}: ${missing ? say("missing") : written(value, 4)}`,
    },
    element("dt", {}, foreign(short(name))),
    element(
      "dd",
      {},
      element("span", { class: "track", vars: sizes, "aria-hidden": "true" }),
      missing
        ? element("span", { class: "value" }, element("span", { "aria-hidden": "true" }, "–"), unseen(say("missing")))
        : element("span", { class: "value" }, written(value)),
    ),
  )
}
