"use strict";
// The order in which the page comes alive: the curves first, what lies further down after them.

/** Call when the page is read to its end. */
function whole(call) {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", call);
  else call();
}

for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
Bokeh.set_log_level("error");
Theme.start();
Cell.start();
Promise.resolve(Curves.start()).then(() => {
  Command.start();
  Gallery.start();
  Table.start();
  whole(Figures.start);
  document.documentElement.dataset.ready = String(Math.round(performance.now()));  // milliseconds, for whoever measures
});
