// The page: what the reader chose (the address), what the service found, and how both are shown.

import * as api from "./api.js"
import { drawChoices } from "./controls.js"
import { at, element, fill, foreign } from "./dom.js"
import { assignColours, groupOf, scaleOf, written } from "./features.js"
import { openHelp } from "./help.js"
import { listen } from "./keyboard.js"
import { Links } from "./links.js"
import { List } from "./list.js"
import { movements } from "./movement.js"
import { agreement, rank } from "./ranking.js"
import { RankingPanel } from "./ranking_panel.js"
import { failure, nothing, waiting, welcome } from "./screens.js"
import { Searches } from "./searches.js"
import { drawSides } from "./sides.js"
import { modelOf, rankingOf, read, write } from "./state.js"
import * as switches from "./switches.js"
import { language, say, sayAll, sayRanking } from "./words.js"

const searches = new Searches()
const links = new Links()
const actions = { toggle: docId => choose({ open: state.open === docId ? null : docId }) }
const lists = { a: new List("a", actions), b: new List("b", actions) }
const panel = new RankingPanel(at("ranking-form"), at("ranking-name"), part => choose(part))
const wide = matchMedia("(min-width: 1100px)")
let offer = null
let state = null
let trouble = null

const models = () => [state.model, state.versus].filter(name => name !== null)
const showing = () => [lists.a, lists.b].slice(0, searches.found.length)

// ---- what the reader does

/** Takes a choice that needs no search: the address changes in place. */
function choose(part) {
  Object.assign(state, part)
  history.replaceState(null, "", write(state, offer))
  render()
}

/** Takes a choice that finds something else: the address before stays in the history. */
function find(part) {
  Object.assign(state, part)
  history.pushState(null, "", write(state, offer))
  return search()
}

async function search() {
  at("query").value = state.q
  document.title = state.q ? `${state.q} · mmsearch` : "mmsearch"
  if (!state.q.trim()) return rest()
  const spaceOf = name => (modelOf(offer, name).spaces.includes(state.space) ? state.space : modelOf(offer, name).space)
  wait(true)
  try {
    if (!(await searches.run(state.q, models(), spaceOf, state))) return
  } catch (error) {
    return fail(error)
  }
  wait(false)
  for (const [n, list] of showing().entries()) list.take(searches.found[n])
  links.tie(showing())
  render()
  lists.a.rows.get(state.open)?.node.scrollIntoView({ block: "center" })
}

/** Goes back to the welcome. */
function rest() {
  searches.clear()
  wait(false)
  render()
}

function fail(error) {
  searches.clear()
  wait(false)
  trouble = error
  render()
}

/** Shows that something is asked for: grey rows at first, later what was there before, paler. */
function wait(isWaiting) {
  trouble = null
  at("results").setAttribute("aria-busy", String(isWaiting))
  if (!isWaiting) return
  fill(at("status"), say("searching"))
  if (!searches.found.length) fill(at("state"), waiting())
}

// ---- how it looks

function render() {
  if (!offer) {
    fill(at("status"))
    fill(at("state"), trouble && failure(trouble, start))
    return
  }
  const named = searches.found.length ? searches.found : models().map(name => modelOf(offer, name))
  const names = [...new Set(named.flatMap(one => one.names))]
  const definitions = modelOf(offer, state.model).definitions
  const how = rankingOf(state, offer)
  const ranked = searches.found.map(found => rank(found.docs, found.names, how))
  const hasResults = ranked.some(one => one.length)
  drawChoices(at("choices"), state, offer, (part, isSearch) => (isSearch ? find(part) : choose(part)))
  panel.show(how, names, definitions, searches.found[0], language())
  document.body.classList.toggle("resting", !searches.found.length)
  at("lists").hidden = !hasResults
  at("lists").classList.toggle("two", ranked.length === 2)
  drawSides(at("sides"), at("lists"), hasResults ? searches.found.map(found => found.model) : [], () => links.draw())
  if (hasResults) {
    fill(at("state"), notices(how))
    place()
    const view = viewOf(names, how, definitions, ranked)
    const moves = movements(ranked, searches.found)
    for (const [n, list] of showing().entries()) {
      list.show(ranked[n], view, moves[n], state.open, docId => searches.explained(searches.found[n], docId, render))
    }
    links.draw()
  } else fill(at("state"), screen())
  fill(at("status"), searches.found.length ? summary(ranked, how) : null)
}

/** What stands where there is no list. */
function screen() {
  const tryQuery = q => find({ q, open: null })
  if (trouble) return failure(trouble, search)
  return searches.found.length ? nothing(state, offer, tryQuery) : welcome(offer, modelOf(offer, state.model), tryQuery)
}

/** Puts the lists that are shown into the page, and the lines between two. */
function place() {
  const wanted = showing().length === 2 ? [lists.a.node, links.node, lists.b.node] : [lists.a.node]
  if (wanted.length !== at("lists").children.length) at("lists").replaceChildren(...wanted)
}

function viewOf(names, how, definitions, ranked) {
  const bars = state.bars ?? (ranked.length === 2 || !wide.matches ? "main" : "all")
  const ranking = new Set(Object.keys(how.weights))
  const isShown = {
    all: () => true,
    main: name => groupOf(name) !== "modality" || ranking.has(name),
    ranking: name => ranking.has(name),
  }[bars]
  const scale = scaleOf(searches.found.flatMap(found => found.docs.flatMap(doc => doc.values)))
  return { shown: names.filter(isShown), scale, ranking, how, definitions, comparing: ranked.length === 2 }
}

function summary(ranked, how) {
  const [first, second] = searches.found
  const facts = [
    say(state.among === "judged" ? "foundGraded" : "found", first.docs.length, first.space),
    say("rankedSoBy", sayRanking(how)),
    say(
      "took",
      searches.found.map(one => written(one.took_ms, one.took_ms < 10 ? 1 : 0)),
    ),
  ]
  if (second) {
    const { shared, tau } = agreement(...ranked)
    facts.push(say("shared", shared), tau === null ? null : say("tau", written(tau)))
  } else facts.push([`${say("generation")} `, foreign(first.generation)])
  return facts.filter(Boolean).map((fact, n) => [n ? " · " : "", fact])
}

/** What the reader must know before believing the numbers; a screen reader gets a heading first. */
function notices({ weights }) {
  const [first, second] = searches.found
  const late = searches.found.filter(found => found.late).map(found => found.model)
  const otherSpace = second && second.space !== first.space
  return [
    element("h1", { class: "unseen" }, say("resultsFor"), " ", foreign(state.q)),
    Object.keys(weights).length ? null : element("p", { class: "notice" }, say("noneChosen")),
    late.length ? element("p", { class: "notice" }, say("late", late.join(", "))) : null,
    otherSpace ? element("p", { class: "notice" }, say("otherSpace", second.model, second.space)) : null,
    searches.found.map(found => {
      const lacks = Object.keys(weights).filter(name => !found.names.includes(name))
      return lacks.length ? element("p", { class: "notice" }, say("lacks", found.model, lacks.join(", "))) : null
    }),
  ]
}

// ---- start

async function start() {
  at("columns").hidden = false
  wait(true)
  try {
    offer = await api.features()
  } catch (error) {
    return fail(error)
  }
  assignColours(offer.models.flatMap(model => model.names))
  state = read(location.search, offer)
  at("choices").hidden = false
  await search()
}

function speak() {
  sayAll(document)
  at("query").placeholder = say("placeholder")
  switches.label()
  at("choices").setAttribute("aria-label", say("choices"))
  for (const [n, list] of showing().entries()) list.take(searches.found[n])
  links.tie(showing())
  render()
}

at("search").addEventListener("submit", event => {
  event.preventDefault()
  if (offer) find({ q: at("query").value, open: null })
})
at("home").addEventListener("click", event => {
  event.preventDefault()
  if (offer) find({ q: "", open: null })
})
at("help-open").addEventListener("click", () => openHelp(at("help")))
addEventListener("popstate", () => {
  if (!offer || location.search === new URL(write(state, offer), location.href).search) return // a link within the page
  state = read(location.search, offer)
  search()
})
const unfold = () => (at("ranking").open = wide.matches)
wide.addEventListener("change", () => {
  unfold()
  if (offer) render()
})
listen({
  query: at("query"),
  lists: () => showing().filter(list => list.node.checkVisibility()),
  toggle: actions.toggle,
  open: () => state?.open ?? null,
  help: () => openHelp(at("help")),
})
switches.setUp(speak)
unfold()
speak()
start()
