// Making elements. Every text of others (titles, ids, queries, tokens, messages) becomes a text node or an attribute
// value here: nothing on this page is ever read as markup, and the policy of the page refuses to.

export const at = id => document.getElementById(id)

/**
 * Makes an element. `vars` are custom properties of its style, `data` its data attributes, `onX` listeners; null,
 * undefined and false are left out.
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue
    if (key === "vars") for (const [own, given] of Object.entries(value)) made.style.setProperty(`--${own}`, given)
    else if (key === "data") Object.assign(made.dataset, value)
    else if (typeof value === "function") made.addEventListener(key.slice(2), value)
    else made.setAttribute(key, value === true ? "" : value)
  }
  made.append(...present(children))
  return made
}

/** Puts other children into an element; those that are there already stay, and keep the focus. */
export function fill(parent, ...children) {
  parent.replaceChildren(...present(children))
  return parent
}

const present = children => children.flat(Infinity).filter(one => one !== null && one !== undefined && one !== false)

/** A text of others: it may run from right to left, and must not turn what stands around it. */
export const foreign = (text, properties = {}) => element("bdi", { dir: "auto", ...properties }, text)

/** Text for a screen reader alone. */
export const unseen = text => element("span", { class: "unseen" }, text)

const drawn = "http://www.w3.org/2000/svg"

/** Makes an element of a drawing. */
export function shape(name, properties = {}, ...children) {
  const made = document.createElementNS(drawn, name)
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value)
  made.append(...children)
  return made
}
