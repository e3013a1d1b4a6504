// What is known of features: their groups, their colours, and how a value is written and drawn.

const SPACES = ["cover", "frames", "perception", "content"]
const MODALITIES = ["title", "account", "cover", "cover_ocr", "frames", "content_ocr", "asr"]
const DERIVED = ["max_modality", "spread"]
const KNOWN = [...SPACES, ...MODALITIES.map(name => `content.${name}`), ...DERIVED]
const NUM_COLOURS = 20

/** A feature is one of the model's spaces, a single modality of one, or derived from others. */
export function groupOf(name) {
  if (DERIVED.includes(name) || name.endsWith(".poly")) return "derived"
  return name.includes(".") ? "modality" : "space"
}

/** The name where there is little room: `.title` is `content.title`. */
export const short = name => name.replace(/^content\./, ".")

/** Features of several models in one order, by group. */
export function byGroup(names) {
  const groups = { space: [], derived: [], modality: [] }
  for (const name of new Set(names)) groups[groupOf(name)].push(name)
  return groups
}

let colours = new Map()

/** Gives every feature of all models its colour, once: it does not depend on the query, the model or what is shown. */
export function assignColours(names) {
  const others = [...new Set(names)].filter(name => !KNOWN.includes(name)).sort()
  colours = new Map([...KNOWN, ...others].map((name, n) => [name, `f${n % NUM_COLOURS}`]))
}

export const colourOf = name => colours.get(name) ?? "f0"

/** Writes a number with a real minus sign. */
export const written = (value, digits = 2) => {
  const text = Math.abs(value).toFixed(digits)
  return value < 0 && Number(text) !== 0 ? `−${text}` : text
}

/** Writes a number with its sign. */
export const signed = (value, digits = 2) =>
  (value > 0 && Number(value.toFixed(digits)) !== 0 ? "+" : "") + written(value, digits)

/** One scale for every bar on the page, so that bars can be compared: zero is on it, and it ends on tenths. */
export function scaleOf(values) {
  let low = 0
  let high = 0.1
  for (const value of values) {
    if (value === null) continue
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  return { low: Math.floor(low * 10 - 1e-6) / 10, high: Math.ceil(high * 10 - 1e-6) / 10 }
}

/**
 * Where a bar begins and how long it is, in percent of its track; it goes to the left of zero where the value is
 * negative.
 */
export function extent(value, scale) {
  const share = number => (100 * (number - scale.low)) / (scale.high - scale.low)
  const [from, to] = [share(Math.min(0, value)), share(Math.max(0, value))]
  return { zero: `${share(0)}%`, from: `${from}%`, length: `${to - from}%` }
}
