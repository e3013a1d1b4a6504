// What ties two lists: a line from each shared result to itself on the other side, and a light on both when one is
// pointed at.

import { shape } from "./dom.js"

const LINE_AT = 28

/** The gutter between two lists. */
export class Links {
  constructor() {
    this.node = shape("svg", { class: "links", "aria-hidden": "true" })
    this.lines = new Map()
    this.lists = []
    new ResizeObserver(() => this.lists.length && this.draw()).observe(this.node)
  }

  /** Takes the lists; what is pointed at or focused in one lights up in both. */
  tie(lists) {
    this.lists = lists
    this.lit = null
    for (const list of lists) {
      for (const [docId, row] of list.rows) {
        for (const kind of ["pointerenter", "focusin"]) row.node.addEventListener(kind, () => this.light(docId))
        for (const kind of ["pointerleave", "focusout"]) row.node.addEventListener(kind, () => this.light(null))
      }
    }
    for (const list of lists) this.watch(list)
  }

  watch(list) {
    this.watching ??= new ResizeObserver(() => this.draw())
    this.watching.observe(list.ol)
  }

  light(docId) {
    for (const [found, mark] of [
      [this.lit, false],
      [docId, true],
    ]) {
      if (found === null || found === undefined) continue
      for (const list of this.lists) list.rows.get(found)?.node.classList.toggle("lit", mark)
      this.lines.get(found)?.classList.toggle("lit", mark)
    }
    this.lit = docId
  }

  /** Draws the lines where the rows stand now. */
  draw() {
    this.lines = new Map()
    const box = this.node.getBoundingClientRect()
    if (this.lists.length < 2 || box.width < 8) return this.node.replaceChildren()
    const [left, right] = this.lists
    for (const [docId, row] of left.rows) {
      const other = right.rows.get(docId)
      if (!other?.entry || !row.entry) continue
      const [from, to] = [row, other].map(one => topOf(one.node) + LINE_AT)
      const change = row.entry.position - other.entry.position
      const kind = change > 0 ? "up" : change < 0 ? "down" : "same"
      const middle = box.width / 2
      const way = `M0 ${from}C${middle} ${from} ${middle} ${to} ${box.width} ${to}`
      this.lines.set(docId, shape("path", { d: way, class: kind }))
    }
    this.node.replaceChildren(...this.lines.values())
  }
}

// where a row ends up, not where it is while it slides: both lists and the gutter begin at the same height
const topOf = node => node.offsetTop
