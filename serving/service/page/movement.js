// How results move between two orders: of two models, or as found and as ranked now.

import { say } from "./words.js"

/** Gives for each side a function of (document id, position) that says how it moved; null where nothing is compared. */
export function movements(ranked, found) {
  if (ranked.length === 2) return [against(ranked[1], found[1].model, leads), against(ranked[0], found[0].model, came)]
  const isAsFound = ranked[0].every(row => row.found === row.position)
  return [
    (_, position) =>
      isAsFound ? null : since(ranked[0][position].found, position, say("foundAt", ranked[0][position].found + 1)),
  ]
}

function against(others, model, told) {
  const places = new Map(others.map(row => [row.doc.doc_id, row.position]))
  return (docId, position) => told(places.get(docId), position, model)
}

/** The first list is what the second is compared with: it says where each result stands there. */
const leads = (there, _, model) =>
  there === undefined
    ? { kind: "to", sign: "→ –", told: say("notThere", model) }
    : { kind: "to", sign: `→ ${there + 1}`, told: say("thereAt", there + 1, model) }

/** The second list says how far each result came. */
const came = (there, position, model) =>
  there === undefined
    ? { kind: "new", sign: "✦", told: say("notThere", model) }
    : since(there, position, say("thereAt", there + 1, model))

function since(before, position, told) {
  const change = before - position
  if (change === 0) return { kind: "same", sign: "=", told }
  return change > 0 ? { kind: "up", sign: `▲${change}`, told } : { kind: "down", sign: `▼${-change}`, told }
}
