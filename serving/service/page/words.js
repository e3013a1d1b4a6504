// The language of the page: that of the browser, until the reader chooses another.

import { en } from "./words_en.js"
import { zh } from "./words_zh.js"

const SHELF = "mmsearch-language"
const TONGUES = { en, zh }

let tongue = chosen() ?? (navigator.language?.toLowerCase().startsWith("zh") ? "zh" : "en")

function chosen() {
  try {
    const kept = localStorage.getItem(SHELF)
    return kept in TONGUES ? kept : null
  } catch {
    return null // storage is refused
  }
}

export const language = () => tongue

/** Changes to the other language, and keeps that. */
export function turn() {
  tongue = tongue === "zh" ? "en" : "zh"
  try {
    localStorage.setItem(SHELF, tongue)
  } catch {
    // it holds until the page is closed
  }
}

/** Says something in the language of the page; some words take what they speak of. */
export function say(name, ...about) {
  const word = TONGUES[tongue][name]
  return typeof word === "function" ? word(...about) : word
}

/** Says what a list is ranked by. */
export function sayRanking({ by, weights }) {
  const names = Object.keys(weights)
  return by === "one" ? (names[0] ?? "") : say(by === "z" ? "sumOfZ" : "sumOfScores", names.length)
}

/** Puts words into the parts of the page that never change otherwise. */
export function sayAll(root) {
  document.documentElement.lang = tongue === "zh" ? "zh-CN" : "en"
  for (const one of root.querySelectorAll("[data-t]")) one.textContent = say(one.dataset.t)
}
