// What the page shows when it shows no list: the welcome, nothing found, waiting, and what went wrong.

import { setKey } from "./api.js"
import { element, foreign } from "./dom.js"
import { byGroup, colourOf } from "./features.js"
import { language, say } from "./words.js"

const WAITING = 6
const isChinese = text => /\p{Script=Han}/u.test(text)

/** The first look: what this is, queries to try, and what is measured. */
export function welcome(offer, model, tryQuery) {
  return [
    element("h1", {}, say("welcome")),
    element("p", { class: "lead" }, say("welcomeLead", model.numDocs, model.names.length)),
    tries(offer, tryQuery),
    element("h2", {}, say("measured")),
    element(
      "div",
      { class: "glossary" },
      Object.entries(byGroup(model.names)).map(
        ([group, names]) =>
          names.length > 0 &&
          element(
            "section",
            { class: group },
            element("h3", {}, say(group)),
            element(
              "dl",
              {},
              names.map(name => term(name, model)),
            ),
          ),
      ),
    ),
  ]
}

const term = (name, model) =>
  element(
    "div",
    { class: colourOf(name) },
    element("dt", {}, element("span", { class: "swatch" }), foreign(name)),
    element("dd", {}, say("about", name, model.definitions.get(name))),
  )

/** Queries that have grades, those in the reader's language first. */
function tries(offer, tryQuery) {
  if (!offer.examples.length) return null
  const own = language() === "zh"
  const sorted = [...offer.examples].sort((a, b) => (isChinese(b) === own) - (isChinese(a) === own))
  const buttons = sorted.map(query =>
    element("button", { type: "button", class: "example", onclick: () => tryQuery(query) }, foreign(query)),
  )
  return [element("h2", {}, say("tryOne")), element("p", { class: "chips" }, buttons)]
}

export function nothing({ q, among }, offer, tryQuery) {
  return [
    element("h1", {}, say("nothing")),
    element("p", { class: "lead" }, say("nothingFor"), " ", foreign(q), "."),
    element("p", {}, say(among === "judged" ? "nothingGraded" : "nothingWhy")),
    tries(offer, tryQuery),
  ]
}

/** Rows of grey: the page waits, and says so to a screen reader elsewhere. */
export const waiting = () =>
  element(
    "ol",
    { class: "skeleton", "aria-hidden": "true" },
    Array.from({ length: WAITING }, () => element("li", {}, element("i"), element("b"), element("u"))),
  )

/** What went wrong, what the service said of it, and what can be done. */
export function failure(error, again) {
  if (error.status === 401) return keyForm(error, again)
  const kind =
    error.status === 0
      ? "unreachable"
      : [429, 503].includes(error.status)
        ? "busy"
        : error.status >= 500
          ? "broken"
          : "refused"
  return element(
    "div",
    { class: "failure", role: "alert" },
    element("h1", {}, say(kind)),
    element("p", {}, foreign(error.detail || error.message || "")),
    error.retryAfter ? element("p", {}, say("retryAfter", error.retryAfter)) : null,
    element("p", {}, element("button", { type: "button", class: "main", onclick: again }, say("again"))),
    element(
      "p",
      { class: "fine" },
      error.status ? say("status", error.status) : null,
      error.requestId && [" · ", say("request"), " ", element("code", {}, error.requestId)],
    ),
  )
}

/** The service wants a key: it is kept for this tab alone. */
function keyForm(error, again) {
  const input = element("input", { type: "password", id: "key", autocomplete: "off", required: true })
  const send = event => {
    event.preventDefault()
    setKey(input.value.trim())
    again()
  }
  return element(
    "form",
    { class: "failure", onsubmit: send },
    element("h1", {}, say("keyWanted")),
    element("p", {}, foreign(error.detail)),
    element("p", {}, element("label", { for: "key" }, say("keyLabel"))),
    element("p", { class: "row" }, input, element("button", { class: "main" }, say("again"))),
  )
}
