// The keyboard: / to the search, arrows through the results and across the two lists, Escape back.

const HEAD_PX = 64
const isTyping = at => at.matches("input:not([type=radio], [type=checkbox]), select, textarea")

/** `page` = {query, lists(), toggle(docId), open() (its id or null), help()}. */
export function listen(page) {
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]"))
      return
    if (act(event, page)) event.preventDefault()
  })
}

function act(event, page) {
  const at = event.target
  if (event.key === "Escape") return leave(at, page)
  if (at === page.query && event.key === "ArrowDown") return focus(page.lists()[0]?.openers()[0])
  if (isTyping(at)) return false
  if (event.key === "/") return focus(page.query, true)
  if (event.key === "?") return page.help()
  return at.matches(".opener, body, main") && walk(event.key, at, page)
}

function leave(at, page) {
  const open = page.open()
  if (at === page.query) return at.blur() ?? true
  if (open === null) return false
  const opener = page.lists().flatMap(list => list.rows.get(open)?.opener ?? [])[0]
  page.toggle(open)
  return focus(opener)
}

/** Moves through the results; to the side, to the same result of the other list or else to the same place. */
function walk(key, at, page) {
  const lists = page.lists()
  const columns = lists.map(list => list.openers())
  const side = columns.findIndex(column => column.includes(at))
  const step = { ArrowDown: 1, ArrowUp: -1 }[key]
  if (side < 0) return step === 1 && focus(inSight(columns[0] ?? []))
  const column = columns[side]
  const n = column.indexOf(at)
  if (step) return n + step < 0 ? focus(page.query, true) : focus(column[n + step])
  if (key === "Home") return focus(column[0])
  if (key === "End") return focus(column.at(-1))
  const across = { ArrowRight: 1, ArrowLeft: -1 }[key]
  if (!across || !columns[side + across]?.length) return false
  const same = lists[side + across].rows.get(lists[side].ranked[n].doc.doc_id)
  return focus(same?.opener ?? columns[side + across][Math.min(n, columns[side + across].length - 1)])
}

// who has scrolled goes on from there
const inSight = column => column.find(one => one.getBoundingClientRect().top > HEAD_PX) ?? column[0]

function focus(at, isSelected = false) {
  if (!at) return false
  at.focus()
  if (isSelected) at.select()
  else at.closest(".result")?.scrollIntoView({ block: "nearest" })
  return true
}
