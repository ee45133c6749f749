"use strict";
// Elements of the page. A text becomes a text node, never markup: nothing of what a study says is ever parsed.

const Dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  const byId = (id) => document.getElementById(id);

  /** An element with attributes, listeners (`onclick: f`) and children; what is null or false is left out. */
  function make(tag, attributes = {}, ...children) {
    return dressed(document.createElement(tag), attributes, children);
  }

  function makeSvg(tag, attributes = {}, ...children) {
    return dressed(document.createElementNS(SVG, tag), attributes, children);
  }

  function dressed(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") element.addEventListener(name.slice(2), value);
      else if (name === "value") element.value = value;
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  /** A labelled choice among [value, words] pairs, or groups {label, options} of them. */
  function select(label, options, chosen, onchange, attributes = {}) {
    const option = ([value, words]) => make("option", { value, selected: value === chosen }, words);
    const list = options.map((some) =>
      Array.isArray(some) ? option(some) : make("optgroup", { label: some.label }, some.options.map(option)));
    const box = make("select", { ...attributes, onchange: (event) => onchange(event.target.value) }, list);
    return make("label", { class: "field" }, make("span", {}, label), box);
  }

  function toggle(label, checked, onchange) {
    const box = make("input", { type: "checkbox", checked, onchange: (event) => onchange(event.target.checked) });
    return make("label", { class: "toggle" }, box, label);
  }

  /** Calls that come within `ms` of each other are one. */
  function settled(call, ms) {
    let timer = 0;
    return (...given) => {
      clearTimeout(timer);
      timer = setTimeout(() => call(...given), ms);
    };
  }

  return { byId, make, makeSvg, select, toggle, settled };
})();
