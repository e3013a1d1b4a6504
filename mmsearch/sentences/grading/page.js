"use strict"
const SIDES = ["first", "second"]
const NAMES = ["bad", "fair", "good"]
const WIDE_PX = 700
const RETRY_MS = 1500
const at = id => document.getElementById(id)
const sheet = JSON.parse(at("sheet").textContent)
const isServed = location.protocol.startsWith("http")
const shelf = `mmsearch-grades-${sheet.id}`
const grades = sheet.items.map(() => ({}))
const numbers = new Map(sheet.items.map((item, n) => [item.doc_id, n]))
const unsaved = new Map()
let current = 0
let chosen = 0
let isSending = false
let isOver = false

// Every text of others goes through here: text nodes are never read as markup.
function element(name, text, properties = {}) {
  const made = document.createElement(name)
  if (text !== null) made.textContent = text
  return Object.assign(made, properties)
}

function tell(text, isBad = false) {
  at("status").textContent = text
  at("status").classList.toggle("bad", isBad)
}

const sidesOf = n => SIDES.slice(0, sheet.items[n].answers.length)
const isGraded = n => sidesOf(n).every(side => side in grades[n])
const total = sheet.items.reduce((sum, _, n) => sum + sidesOf(n).length, 0)
const done = () => grades.reduce((sum, found) => sum + Object.keys(found).length, 0)

function put(row) {
  const n = numbers.get(row.doc_id)
  if (n === undefined || !sidesOf(n).includes(row.side)) return
  if (row.grade === null) delete grades[n][row.side]
  else grades[n][row.side] = row.grade
}

// ---- keeping grades

function shelve() {
  const rows = isServed ? [...unsaved.values()] : allRows()
  try {
    localStorage.setItem(shelf, JSON.stringify(rows))
    return true
  } catch {
    return false
  }
}

function shelved() {
  try {
    return JSON.parse(localStorage.getItem(shelf)) ?? []
  } catch {
    return []
  }
}

function allRows() {
  return sheet.items.flatMap((item, n) => sidesOf(n).filter(side => side in grades[n])
    .map(side => ({ sheet: sheet.id, doc_id: item.doc_id, side, grade: grades[n][side] })))
}

function save(row) {
  put(row)
  if (isServed) {
    unsaved.set(`${row.side} ${row.doc_id}`, row)
    shelve()
    tell("Saving …")
    send()
  } else if (shelve()) tell("Kept in this browser. Download the grades at the end.")
  else tell("This browser keeps nothing: download the grades before you close the page.", true)
}

async function send() {
  if (isSending || isOver) return
  isSending = true
  for (const [key, row] of unsaved) {
    const answer = await fetch("grades", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(row) })
      .catch(() => null)
    if (answer === null || answer.status >= 500) {
      tell(answer === null ? "Not saved: the server does not answer. Start it again; grades wait here." : "Not saved: the server cannot write. Is the disk full?", true)
      isSending = false
      setTimeout(send, RETRY_MS)
      return
    }
    if (unsaved.get(key) === row) unsaved.delete(key)
    shelve()
    if (answer.ok && unsaved.size) continue
    tell(answer.ok ? "Saved" : "Refused: this page and the server do not show the same sheet. Open the page anew.", !answer.ok)
  }
  isSending = false
  if (unsaved.size) send()
}

async function finish() {
  if (unsaved.size) {
    setTimeout(finish, RETRY_MS / 5)
    return
  }
  isOver = true
  const answer = await fetch("finish", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }).catch(() => null)
  tell(answer?.ok ? "Finished. The summary is in the terminal; this page may be closed." : "The server does not answer; all grades are saved.")
  at("finish").disabled = true
}

// ---- showing

function show(n) {
  current = Math.max(0, Math.min(n, sheet.items.length))
  const isEnd = current === sheet.items.length
  at("video").hidden = isEnd
  at("end").hidden = !isEnd
  at("back").disabled = current === 0
  at("forth").disabled = isEnd
  if (isEnd) showEnd()
  else showVideo(sheet.items[current])
  scrollTo(0, 0)
  update()
}

function showVideo(item) {
  at("position").textContent = `Video ${current + 1} of ${sheet.items.length}`
  at("title").textContent = item.title
  at("answers").classList.toggle("one", item.answers.length === 1)
  at("answers").replaceChildren(...item.answers.map((sentences, side) => answer(sentences, side, item.answers.length)))
  at("transcript").replaceChildren(...transcript(item))
  at("transcript").scrollTop = 0
  const open = sidesOf(current).findIndex(side => !(side in grades[current]))
  choose(open < 0 ? 0 : open)
}

function answer(sentences, side, count) {
  const name = count === 1 ? "Both methods chose the same" : `Answer ${"AB"[side]}`
  const box = element("section", null, { className: "answer", tabIndex: -1, ariaLabel: name })
  const list = element("ul", null)
  list.append(...sentences.map(text => element("li", text, { dir: "auto" })))
  if (!sentences.length) list.append(element("li", "No sentence was chosen.", { className: "none" }))
  const row = element("div", null, { className: "grades", role: "group", ariaLabel: `Grade of ${name}` })
  row.append(...NAMES.map((label, grade) => {
    const button = element("button", null, { type: "button", onclick: () => rate(side, grade) })
    button.append(element("kbd", String(grade)), element("span", label))
    return button
  }))
  box.append(element("h2", name), list, row)
  box.addEventListener("focusin", () => choose(side, false))
  box.addEventListener("click", () => choose(side, false))
  return box
}

function transcript(item) {
  const pieces = []
  let from = 0
  for (const [start, end] of item.marks) {
    pieces.push(item.transcript.slice(from, start), element("mark", item.transcript.slice(start, end)))
    from = end
  }
  pieces.push(item.transcript.slice(from))
  if (item.hidden) pieces.push(element("span", `\n… ${item.hidden.toLocaleString("en")} more characters`, { className: "more" }))
  return pieces
}

function showEnd() {
  const left = total - done()
  at("end-title").textContent = left ? `${left} of ${total} answers are not graded yet` : "Everything is graded. Thank you."
  at("end-text").textContent = isServed
    ? "Every grade is on the disk. Finish stops the server, which then prints the summary; grading can go on any time."
    : "Download the grades and put the file beside the sheet as grades.jsonl; the command then prints the summary."
  at("ungraded").hidden = !left
  at("finish").hidden = !isServed
  at("download").hidden = isServed
  if (!isServed) {
    URL.revokeObjectURL(at("download").href)
    const text = allRows().map(row => JSON.stringify(row) + "\n").join("")
    at("download").href = URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" }))
    at("download").download = "grades.jsonl"
  }
  at("end-title").focus()
}

function update() {
  at("progress").max = total
  at("progress").value = done()
  at("progress-text").textContent = `${done()} of ${total} graded`
  if (current === sheet.items.length) return
  for (const [side, box] of [...at("answers").children].entries()) {
    box.classList.toggle("chosen", side === chosen)
    for (const [grade, button] of [...box.querySelectorAll("button")].entries())
      button.ariaPressed = String(grades[current][SIDES[side]] === grade)
  }
}

// ---- grading

function choose(side, moves = true) {
  chosen = side
  update()
  if (moves) at("answers").children[side].focus({ preventScroll: true })
}

function rate(side, grade) {
  if (grade !== null && !done()) at("help").open = false
  save({ sheet: sheet.id, doc_id: sheet.items[current].doc_id, side: SIDES[side], grade })
  if (grade === null) update()
  else if (side + 1 < sidesOf(current).length) {
    choose(side + 1)
    at("answers").children[side + 1].scrollIntoView({ block: "nearest" })
  } else show(current + 1)
}

addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return
  const isVideo = current < sheet.items.length
  const scrolls = document.activeElement === at("transcript")
  if (isVideo && /^[012]$/.test(event.key)) {
    if (!event.repeat) rate(chosen, Number(event.key))
  } else if (isVideo && event.key === "Backspace") rate(chosen, null)
  else if (event.key === "ArrowLeft") show(current - 1)
  else if (event.key === "ArrowRight") show(current + 1)
  else if (isVideo && !scrolls && event.key === "ArrowUp") choose(0)
  else if (isVideo && !scrolls && event.key === "ArrowDown") choose(sidesOf(current).length - 1)
  else return
  event.preventDefault()
})
at("back").onclick = () => show(current - 1)
at("forth").onclick = () => show(current + 1)
at("ungraded").onclick = () => show(sheet.items.findIndex((_, n) => !isGraded(n)))
at("finish").onclick = finish

async function start() {
  if (isServed) {
    const answer = await fetch("grades").catch(() => null)
    if (answer?.ok) (await answer.json()).forEach(put)
    for (const row of shelved()) save(row)
  } else shelved().forEach(put)
  const open = sheet.items.findIndex((_, n) => !isGraded(n))
  show(open < 0 ? sheet.items.length : open)
  at("help").open = !done() && innerWidth > WIDE_PX
}
start()
