// The service. Every request of the page goes through here.

const KEY = "mmsearch-key"

/** What went wrong, as the service told it; `status` 0 = it could not be reached. */
export class ServiceError extends Error {
  constructor(status, title, detail, requestId, retryAfter) {
    super(title)
    Object.assign(this, { status, detail, requestId, retryAfter })
  }
}

const key = () => sessionStorage.getItem(KEY)
export const setKey = value => sessionStorage.setItem(KEY, value)
const allowed = () => (key() ? { Authorization: `Bearer ${key()}` } : {})

async function ask(path, body, signal) {
  const headers = { ...allowed(), ...(body ? { "Content-Type": "application/json" } : {}) }
  let answer
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", body: body && JSON.stringify(body), headers, signal })
  } catch (error) {
    if (error.name === "AbortError") throw error
    throw new ServiceError(0, "", String(error.message), null, null)
  }
  if (answer.ok) return answer
  const told = await answer.json().catch(() => ({}))
  const again = Number(answer.headers.get("Retry-After"))
  throw new ServiceError(answer.status, told.title ?? "", told.detail ?? "", told.request_id ?? null, again || null)
}

const json = async (path, body, signal) => (await ask(path, body, signal)).json()

/** Gives what the service offers: models with their features and spaces, limits, queries that have grades. */
export async function features() {
  const told = await json("v1/features")
  const models = told.models.map(model => ({
    name: model.name,
    generation: model.generation,
    numDocs: model.num_docs,
    space: model.default_space,
    spaces: model.spaces.map(space => space.name),
    names: model.features.map(feature => feature.name),
    definitions: new Map(model.features.map(feature => [feature.name, feature.definition])),
  }))
  return {
    usual: told.default_model,
    models,
    limits: told.limits,
    isJudged: told.judgments !== null,
    examples: told.judgments?.examples ?? [],
  }
}

export const search = ({ q, ...chosen }, signal) => json("v1/search", { query: q, ...chosen }, signal)

export const explain = ({ q, docId, model }, signal) => json("v1/explain", { query: q, doc_id: docId, model }, signal)

const coverPath = (docId, model) => `v1/videos/${encodeURIComponent(docId)}/cover?model=${encodeURIComponent(model)}`

/** Gives an image its cover. A picture asks without a key; where one is needed it is fetched with it. */
export async function showCover(image, docId, model) {
  const path = coverPath(docId, model)
  if (!key()) {
    image.src = path
    return
  }
  try {
    const made = URL.createObjectURL(await (await ask(path)).blob())
    image.addEventListener("load", () => URL.revokeObjectURL(made), { once: true })
    image.src = made
  } catch {
    image.src = "" // its place says that there is none
  }
}
