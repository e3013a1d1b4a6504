// The switches of the page itself: language, light and dark.

import { at } from "./dom.js"
import { language, say, turn } from "./words.js"

const SHELF = "mmsearch-theme"
const THEMES = { auto: "◐", light: "☀", dark: "☾" }

let theme = document.documentElement.dataset.theme ?? "auto"

/** Sets the switches up; `changed` is told when the page must speak another language. */
export function setUp(changed) {
  at("language").addEventListener("click", () => {
    turn()
    changed()
  })
  at("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES)
    wear(names[(names.indexOf(theme) + 1) % names.length])
    label()
  })
}

function wear(name) {
  theme = name
  if (name === "auto") delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = name
  try {
    if (name === "auto") localStorage.removeItem(SHELF)
    else localStorage.setItem(SHELF, name)
  } catch {
    // it holds until the page is closed
  }
}

/** Says what each switch does, in the language of the page. */
export function label() {
  at("language").textContent = language() === "zh" ? "EN" : "中文"
  at("language").lang = language() === "zh" ? "en" : "zh-CN"
  at("language").setAttribute("aria-label", say("toLanguage"))
  at("theme").textContent = THEMES[theme]
  at("theme").setAttribute("aria-label", say("theme", say(`theme_${theme}`)))
  at("theme").title = say("theme", say(`theme_${theme}`))
  at("help-open").title = say("keys")
}
