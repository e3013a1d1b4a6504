// The order of a list that was found, by what the reader chose, and what can be said of it. No page in here.

const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length

/** Mean and standard deviation (of the list, not of a sample) of each feature over those that have it. */
export function spreadOf(docs, names) {
  return names.map((_, at) => {
    const values = docs.map(doc => doc.values[at]).filter(value => value !== null)
    if (!values.length) return { mean: 0, deviation: 0 }
    const middle = mean(values)
    return { mean: middle, deviation: Math.sqrt(mean(values.map(value => (value - middle) ** 2))) }
  })
}

/**
 * Ranks what was found. `by`: "one" takes the first of `weights` as it is; "z" and "sum" add weight x z-score or
 * weight x score. A missing feature adds nothing; who lacks all of them has no score and comes last, tied. Ties keep
 * the order in which they were found.
 */
export function rank(docs, names, { by, weights }) {
  const spread = spreadOf(docs, names)
  const chosen = Object.entries(weights).filter(([name]) => names.includes(name))
  const used = by === "one" ? chosen.slice(0, 1).map(([name]) => [name, 1]) : chosen
  const scored = docs.map((doc, found) => {
    const parts = new Map()
    for (const [name, weight] of used) {
      const at = names.indexOf(name)
      const value = doc.values[at]
      if (value === null) continue
      parts.set(name, { weight, adds: weight * (by === "z" ? zOf(value, spread[at]) : value) })
    }
    const score = parts.size ? [...parts.values()].reduce((sum, part) => sum + part.adds, 0) : null
    return { doc, found, parts, score }
  })
  scored.sort((a, b) => (a.score === null) - (b.score === null) || b.score - a.score || a.found - b.found)
  return scored.map((row, position) => ({ ...row, position }))
}

/** How many standard deviations a value is above the mean; 0 where all are equal. */
export const zOf = (value, { mean: middle, deviation }) => (deviation > 0 ? (value - middle) / deviation : 0)

/** The place that a document would have by one feature alone, from 1; null where it is missing. */
export function placeBy(docs, at, doc) {
  const own = doc.values[at]
  if (own === null) return null
  return 1 + docs.filter(other => other.values[at] !== null && other.values[at] > own).length
}

/**
 * PNR of the graded part of a list: pairs of other grades in the right order over those in the wrong one,
 * (P + T/2) / max(1, N + T/2), as `mmsearch evaluate` counts; without a score: below all others, tied. Null without a
 * pair.
 */
export function pnr(ranked) {
  const graded = ranked.filter(row => row.doc.grade !== null)
  let [right, wrong, tied] = [0, 0, 0]
  for (const [n, one] of graded.entries()) {
    for (const other of graded.slice(n + 1)) {
      if (one.doc.grade === other.doc.grade) continue
      const [a, b] = [one.score ?? -Infinity, other.score ?? -Infinity]
      if (a === b) tied += 1
      else if (a > b === one.doc.grade > other.doc.grade) right += 1
      else wrong += 1
    }
  }
  const pairs = right + wrong + tied
  return pairs ? { value: (right + tied / 2) / Math.max(1, wrong + tied / 2), pairs, graded: graded.length } : null
}

/** What moved a document past another: the part in which they differ most, in the direction of the difference. */
export function decider(above, below) {
  const names = new Set([...above.parts.keys(), ...below.parts.keys()])
  let best = null
  for (const name of names) {
    const by = (above.parts.get(name)?.adds ?? 0) - (below.parts.get(name)?.adds ?? 0)
    if (best === null || by > best.by) best = { name, by }
  }
  return best
}

/** Kendall's tau of the documents that two rankings share; null below two. */
export function agreement(one, other) {
  const place = new Map(other.map(row => [row.doc.doc_id, row.position]))
  const shared = one.map(row => place.get(row.doc.doc_id)).filter(found => found !== undefined)
  let [same, turned] = [0, 0]
  for (const [n, a] of shared.entries()) for (const b of shared.slice(n + 1)) a < b ? (same += 1) : (turned += 1)
  return { shared: shared.length, tau: shared.length > 1 ? (same - turned) / (same + turned) : null }
}
