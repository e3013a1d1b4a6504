// Why a result stands where it does: what its features add up to, what put it below the one above, and what the model
// read.

import { element, fill, foreign, unseen } from "./dom.js"
import { byGroup, colourOf, extent, scaleOf, signed, written } from "./features.js"
import { decider, placeBy, spreadOf, zOf } from "./ranking.js"
import { say, sayRanking } from "./words.js"

/**
 * Draws the panel of a row. `list` = {model, generation, names, definitions, docs, ranked, ranking, scale}; `told` =
 * what the
 * service explained, null while it is asked, or the error that came instead.
 */
export function drawWhy(at, row, list, told) {
  fill(
    at,
    element("div", { class: "reason" }, reason(row, list), verdict(row, list)),
    element(
      "div",
      { class: "parts" },
      table(row, list, told instanceof Error ? null : told),
      told instanceof Error ? failed(told) : read(told, list),
    ),
  )
}

/** One sentence: the place, and the score that gave it. */
function reason(row, { ranked, ranking }) {
  const by = sayRanking(ranking)
  if (row.score === null) return element("p", { class: "lead" }, say("noScore", row.position + 1, ranked.length, by))
  return element("p", { class: "lead" }, say("placed", row.position + 1, ranked.length, by, written(row.score, 3)))
}

/** What put it below the result above it. */
function verdict(row, { ranked, ranking }) {
  const above = ranked[row.position - 1]
  if (!above || row.score === null) return null
  const gap = written(above.score - row.score, 3)
  const most = ranking.by === "one" ? null : decider(above, row)
  return element(
    "p",
    {},
    most ? say("belowBy", gap, row.position, most.name, written(most.by, 3)) : say("below", gap, row.position),
  )
}

/** Every feature: its value, its place in the list by it alone, and what it adds to the score here. */
function table(row, list, told) {
  const columns = columnsOf(row, list, told)
  const names = Object.values(byGroup(list.names)).flat()
  const where = `${say("featuresOf")}: ${list.model}, ${say("placeOf", row.position + 1)}`
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": where },
    element(
      "table",
      {},
      element("caption", {}, say("featuresOf")),
      element("thead", {}, line(columns.map(([name]) => element("th", { scope: "col" }, say(name))))),
      element(
        "tbody",
        {},
        names.map(name =>
          line(
            columns.map(([, cell]) => cell(name)),
            row.parts.has(name),
          ),
        ),
      ),
      list.ranking.by === "one" || row.score === null ? null : total(row.score, columns.length),
    ),
  )
}

const line = (cells, ranks = false) => element("tr", { class: ranks ? "ranks" : null }, cells)
const cell = (...held) => element("td", {}, held)

/** The columns of the table: a head, and what makes the cell of a feature. */
function columnsOf({ doc, parts }, list, told) {
  const spread = spreadOf(list.docs, list.names)
  const at = name => list.names.indexOf(name)
  const value = name => doc.values[at(name)]
  const scale = scaleOf([...parts.values()].map(part => part.adds))
  const z = name => (value(name) === null ? "" : signed(zOf(value(name), spread[at(name)])))
  const weight = ({ weight: own }) => `× ${written(own, Number.isInteger(own) ? 0 : 2)}`
  const columns = {
    feature: name => heading(name, list.definitions.get(name)),
    value: name =>
      value(name) === null ? cell(missing(told, name)) : cell(written(value(name), 4), codes(told, name)),
    placeBy: name => cell(placeIn(list.docs, at(name), doc)),
    z: name => cell(z(name)),
    weight: name => cell(parts.has(name) && weight(parts.get(name))),
    adds: name =>
      element("td", { class: `adds ${colourOf(name)}` }, parts.has(name) && addsBar(parts.get(name).adds, scale)),
  }
  const left = { one: ["z", "weight", "adds"], sum: ["z"], z: [] }[list.ranking.by]
  return Object.entries(columns).filter(([name]) => !left.includes(name))
}

const heading = (name, definition) =>
  element(
    "th",
    { scope: "row", class: colourOf(name), title: say("about", name, definition) },
    element("span", { class: "swatch" }),
    foreign(name),
  )

function placeIn(docs, at, doc) {
  const place = placeBy(docs, at, doc)
  return place !== null && say("place", place, docs.length)
}

const total = (score, width) =>
  element(
    "tfoot",
    {},
    line([element("th", { scope: "row", colspan: width - 1 }, say("total")), cell(signed(score, 3))]),
  )

const addsBar = (value, scale) => [
  element("span", { class: "track", vars: extent(value, scale), "aria-hidden": "true" }),
  element("span", { class: "value" }, signed(value)),
]

const toldOf = (told, name) => told?.features.find(feature => feature.name === name)

const missing = (told, name) => element("span", { class: "gone" }, say("why", toldOf(told, name)?.why_missing ?? null))

/** The scores of several codes, with the weight that each had. */
function codes(told, name) {
  const found = toldOf(told, name)?.codes ?? []
  if (found.length < 2) return null
  const drawn = found.map(code =>
    element("li", {}, written(code.score, 3), code.weight === null ? null : ` × ${written(code.weight, 2)}`),
  )
  return element(
    "details",
    { class: "codes" },
    element("summary", {}, say("codes", found.length)),
    element("ol", {}, drawn),
  )
}

const failed = error =>
  element("p", { class: "told bad" }, say("noExplanation"), " ", foreign(error.detail || error.message))

/** What the model read of the query and of the video, and who made the vectors. */
function read(told, list) {
  if (told === null) return element("p", { class: "told", "aria-busy": "true" }, say("asking"))
  const { tokens, truncated } = told
  return element(
    "div",
    { class: "told" },
    told.generation === list.generation ? null : element("p", { class: "bad" }, say("newer", told.generation)),
    element("h3", {}, say("queryRead")),
    tokens.length
      ? element(
          "p",
          { class: "chips" },
          tokens.map(token => foreign(token, { class: "token" })),
        )
      : element("p", {}, say("saysNothing")),
    truncated ? element("p", { class: "bad" }, say("truncated")) : null,
    element("h3", {}, say("videoHas")),
    has(told),
    texts(told.texts ?? {}),
    prints(told),
  )
}

/** The modalities that there are, as the features that read them are coloured; those that lack stand crossed out. */
function has(told) {
  if (told.modalities === null) return element("p", {}, say("modalitiesUnknown"))
  const chip = ([name, there]) => {
    return element(
      "span",
      { class: `has ${there ? "there" : "lacking"} ${colourOf(`content.${name}`)}` },
      element("span", { class: "swatch" }),
      name,
      there ? null : unseen(say("missing")),
    )
  }
  return element("p", { class: "chips" }, Object.entries(told.modalities).map(chip))
}

function texts(found) {
  const drawn = Object.entries(found).filter(([, text]) => text)
  if (!drawn.length) return null
  return element(
    "dl",
    { class: "texts" },
    drawn.map(([name, text]) => [element("dt", {}, name), element("dd", {}, foreign(text))]),
  )
}

function prints(told) {
  const spaces = told.features.filter(feature => feature.fingerprint)
  return element(
    "details",
    { class: "prints" },
    element("summary", {}, say("origin")),
    element(
      "dl",
      {},
      pair(say("model"), told.model),
      pair(say("generation"), told.generation),
      pair(say("request"), told.request_id),
      spaces.map(space => pair(space.name, space.fingerprint)),
    ),
  )
}

const pair = (name, value) => [element("dt", {}, name), element("dd", {}, foreign(String(value)))]
