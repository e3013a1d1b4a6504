// What was asked of the service and what it said: one search for each side, and explanations of what is unfolded.

import * as api from "./api.js"

/** Searches of the two sides; a newer search ends an older one. */
export class Searches {
  constructor() {
    this.found = []
    this.told = new Map()
    this.running = null
  }

  /** Finds for every model; gives false if a newer search took over meanwhile. */
  async run(q, models, space, { k, among }) {
    this.running?.abort()
    const own = (this.running = new AbortController())
    const ask = model => api.search({ q, k, among, space: space(model), model }, own.signal)
    let found
    try {
      found = await Promise.all(models.map(ask))
    } catch (error) {
      if (own !== this.running) return false
      own.abort()
      throw error
    }
    if (own !== this.running) return false
    this.found = found.map(one => ({ ...one, q }))
    this.told = new Map()
    return true
  }

  /** Forgets what was found. */
  clear() {
    this.running?.abort()
    this.running = null
    this.found = []
  }

  /** Gives what the service told of a document; null while it is asked, then `changed` is called. */
  explained({ q, model }, docId, changed) {
    const told = this.told
    const key = JSON.stringify([model, docId])
    if (!told.has(key)) {
      told.set(key, null)
      api
        .explain({ q, docId, model })
        .then(
          found => told.set(key, found),
          error => told.set(key, error),
        )
        .then(() => told === this.told && changed())
    }
    return told.get(key)
  }
}
