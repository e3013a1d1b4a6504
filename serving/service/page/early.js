// Runs before the first paint, so that a chosen theme does not flash. Everything else waits for page.js.
try {
  const theme = localStorage.getItem("mmsearch-theme")
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme
} catch {
  // storage is refused: the theme follows the system
}
