// Corrections of what axe finds in Scalar. Each entry has a selector of elements that are not yet correct.
"use strict";

const corrections = {
  // The search, and the fields for names and values of parameters, are comboboxes without the required state.
  '[role="combobox"]:not([aria-expanded])': (field) => {
    const list = document.getElementById(field.getAttribute("aria-controls"));
    field.setAttribute("aria-expanded", String(list !== null));
  },
  // The field that filters the choices of a list has no name.
  'input[role="combobox"]:not([aria-label])': (field) => field.setAttribute("aria-label", "Filter"),
  // The list of choices of a parameter has no name before a choice.
  'td button[aria-haspopup="menu"]:not([title])': (button) => button.setAttribute("title", "Value"),
  // The editor of bodies has no name, and its scrolled content cannot be reached with the keyboard.
  ".cm-content:not([aria-label])": (editor) => editor.setAttribute("aria-label", "Body"),
  '.cm-scroller[tabindex="-1"]': (scroller) => scroller.setAttribute("tabindex", "0"),
  // The buttons that keep the focus in an open list are hidden, although they can have the focus.
  "button[data-headlessui-focus-guard][aria-hidden]": (button) => {
    button.removeAttribute("aria-hidden");
    button.setAttribute("aria-label", "End of the list");
  },
  // Buttons are hidden from assistive technology, or control an element that does not exist.
  'button[role="none"]': (button) => button.removeAttribute("role"),
  'button[aria-label^="Copy"][aria-controls]': (button) => button.removeAttribute("aria-controls"),
};

function correct() {
  for (const [selector, change] of Object.entries(corrections)) {
    document.querySelectorAll(selector).forEach(change);
  }
}

new MutationObserver(correct).observe(document.body, { subtree: true, childList: true, attributes: true });
