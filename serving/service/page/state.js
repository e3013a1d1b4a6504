// What the reader chose, as the address says it: a link shows the same page to somebody else.

import { groupOf } from "./features.js"

const SIZES = [10, 20, 50, 100]
const USUAL_SIZE = 20
const WAYS = ["one", "z", "sum"]
export const BARS = ["all", "main", "ranking"]

/** Reads the address; what it does not know is left out, and what is not said takes its default. */
export function read(address, offer) {
  const asked = new URLSearchParams(address)
  const models = offer.models.map(model => model.name)
  const model = models.includes(asked.get("model")) ? asked.get("model") : offer.usual
  const versus = models.includes(asked.get("vs")) && asked.get("vs") !== model ? asked.get("vs") : null
  const { spaces, space: usual } = modelOf(offer, model)
  const k = Number(asked.get("k"))
  return {
    q: asked.get("q") ?? "",
    model,
    versus,
    space: spaces.includes(asked.get("space")) ? asked.get("space") : usual,
    among: asked.get("among") === "judged" && offer.isJudged ? "judged" : "all",
    k: sizes(offer).includes(k) ? k : usualSize(offer),
    by: WAYS.includes(asked.get("by")) ? asked.get("by") : "one",
    weights: weightsOf(asked.get("f"), offer),
    bars: BARS.includes(asked.get("bars")) ? asked.get("bars") : null,
    open: asked.get("open"),
  }
}

export const modelOf = (offer, name) => offer.models.find(model => model.name === name)

/** The lengths of list that the service gives. */
export function sizes({ limits }) {
  const fit = SIZES.filter(size => size <= limits.max_k)
  return fit.length ? fit : [limits.max_k]
}

const usualSize = offer => Math.min(USUAL_SIZE, sizes(offer).at(-1))

/** Reads `content,cover:2,spread:-1`; null = not said. */
function weightsOf(text, offer) {
  if (!text) return text === null ? null : {}
  const known = new Set(offer.models.flatMap(model => model.names))
  const read = text.split(",").map(part => {
    const [name, weight] = part.split(":")
    return [name, weight === undefined ? 1 : Number(weight)]
  })
  const fit = read.filter(([name, weight]) => known.has(name) && Number.isFinite(weight) && Math.abs(weight) <= 9)
  return fit.length ? Object.fromEntries(fit) : null
}

/** Writes the address; defaults are left out, so that a link is short. */
export function write(state, offer) {
  const said = new URLSearchParams()
  const put = (name, value, usual) => value !== usual && value !== null && said.set(name, value)
  put("q", state.q, "")
  put("model", state.model, offer.usual)
  put("vs", state.versus, null)
  put("space", state.space, modelOf(offer, state.model).space)
  put("among", state.among, "all")
  put("k", state.k, usualSize(offer))
  put("by", state.by, "one")
  const parts = Object.entries(state.weights ?? {}).map(([name, weight]) => (weight === 1 ? name : `${name}:${weight}`))
  put("f", state.weights && parts.join(","), null)
  put("bars", state.bars, null)
  put("open", state.open, null)
  const text = said.toString().replaceAll("%2C", ",").replaceAll("%3A", ":")
  return text ? `?${text}` : "./"
}

/**
 * The features that rank, with their weights: what was chosen, or else the space that found the list, or all spaces.
 */
export function rankingOf(state, offer) {
  const { spaces } = modelOf(offer, state.model)
  const usual = state.by === "one" ? [state.space] : spaces.filter(name => groupOf(name) === "space")
  return { by: state.by, weights: state.weights ?? Object.fromEntries(usual.map(name => [name, 1])) }
}
