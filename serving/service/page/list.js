// One list of results: what one model found for the query, in the order that the reader chose.

import { element, fill, unseen } from "./dom.js"
import { written } from "./features.js"
import { pnr } from "./ranking.js"
import { drawBars, makeRow, showMove } from "./result.js"
import { say } from "./words.js"
import { drawWhy } from "./why.js"

const SLIDE = { duration: 260, easing: "cubic-bezier(.2, .7, .2, 1)" }

/** A list stands in one side of the page; its rows are kept while they move, so that focus and pictures stay. */
export class List {
  constructor(side, actions) {
    this.side = side
    this.actions = actions
    this.head = element("header", { class: "list-head" })
    this.ol = element("ol", { class: "results" })
    this.node = element("section", { class: `list ${side}` }, this.head, this.ol)
    this.rows = new Map()
  }

  /** Takes what was found anew. */
  take(found) {
    this.found = found
    this.rows = new Map(
      found.docs.map((doc, n) => [doc.doc_id, makeRow({ ...doc, found: n }, this.side, found.model, this.actions)]),
    )
    this.ol.replaceChildren()
  }

  /**
   * Shows the rows in order. `moves(docId, position)` says how one moved, `explained(docId)` what the service told of
   * it.
   */
  show(ranked, view, moves, open, explained) {
    const before = this.tops()
    const focused = document.activeElement
    this.ranked = ranked
    for (const entry of ranked) {
      const row = this.rows.get(entry.doc.doc_id)
      row.entry = entry
      fill(
        row.place,
        element("span", { "aria-hidden": "true" }, entry.position + 1),
        unseen(say("placeOf", entry.position + 1)),
      )
      row.node.classList.toggle("unscored", entry.score === null)
      drawBars(row, this.found.names, view)
      showMove(row.moved, moves(entry.doc.doc_id, entry.position))
      this.unfold(row, open === entry.doc.doc_id, view, explained)
    }
    const nodes = ranked.map(entry => this.rows.get(entry.doc.doc_id).node)
    if (nodes.some((node, n) => this.ol.children[n] !== node)) this.ol.replaceChildren(...nodes)
    if (focused !== document.activeElement && this.ol.contains(focused)) focused.focus({ preventScroll: true })
    this.slide(before)
    this.title(ranked, view)
  }

  unfold(row, isOpen, view, explained) {
    row.opener.setAttribute("aria-expanded", String(isOpen))
    row.node.classList.toggle("open", isOpen)
    row.why.hidden = !isOpen
    const { model, generation, names, docs } = this.found
    const list = {
      model,
      generation,
      names,
      docs,
      ranked: this.ranked,
      ranking: view.how,
      scale: view.scale,
      definitions: view.definitions,
    }
    if (isOpen) drawWhy(row.why, row.entry, list, explained(row.doc.doc_id))
    else row.why.replaceChildren()
  }

  /** Says above the list which model it is, and how well the graded part of it is ordered. */
  title(ranked, { comparing, scale }) {
    const measured = pnr(ranked)
    const graded = ranked.filter(entry => entry.doc.grade !== null).length
    const name = comparing ? element("h2", {}, element("bdi", {}, this.found.model)) : null
    const value = measured && written(measured.value, 2)
    const figure = measured
      ? element(
          "span",
          { class: "pnr", title: say("pnrIs", measured.pairs) },
          "PNR ",
          element("b", {}, value),
          " ",
          element("small", {}, say("pnrOf", measured.graded, measured.pairs)),
        )
      : graded
        ? element("small", {}, say("noPairs", graded))
        : null
    const axis = element(
      "small",
      { class: "axis", title: say("noteBars") },
      say("axis", written(scale.low, 1), written(scale.high, 1)),
    )
    fill(this.head, name, figure, axis)
    this.ol.setAttribute("aria-label", say("listOf", this.found.model))
  }

  tops() {
    return new Map(
      [...this.rows.values()]
        .filter(row => row.node.isConnected)
        .map(row => [row, row.node.getBoundingClientRect().top]),
    )
  }

  /** Lets rows slide from where they were: the eye can follow what a choice moves. */
  slide(before) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return
    const moved = [...before].map(([row, top]) => [row, top - row.node.getBoundingClientRect().top])
    for (const [row, by] of moved) {
      if (Math.abs(by) < 1 || Math.abs(by) > 2 * innerHeight) continue
      row.node.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], SLIDE)
    }
  }

  openers() {
    return (this.ranked ?? []).map(entry => this.rows.get(entry.doc.doc_id).opener)
  }
}
