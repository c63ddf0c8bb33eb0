// @ts-check
// Creates elements.

/**
 * Create an element. A property with a dash, or `role`, is an attribute; one that begins with `on` is a listener, such
 * as `onclick`; the others are properties of the element. Properties that are `undefined` are left out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(properties)) {
		if (value === undefined) {
			continue;
		} else if (name.includes("-") || name === "role") {
			element.setAttribute(name, value);
		} else if (name.startsWith("on")) {
			element.addEventListener(name.slice(2), value);
		} else {
			/** @type {any} */ (element)[name] = value;
		}
	}
	element.append(...nodes(children));
	return element;
}

/**
 * Create an element of SVG. All properties are attributes.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, attributes = {}, ...children) {
	const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
	Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, String(value)));
	element.append(...nodes(children));
	return element;
}

/**
 * Replace the children of an element.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
	element.replaceChildren(...nodes(children));
}

/** Make the place for the message of an error, which screen readers speak. @param {...Child} message */
export const makeAlert = (...message) => h("p", { className: "form-error", role: "alert" }, ...message);

let ids = 0;

/** Return an id that no other element has. @param {string} prefix */
export function newId(prefix) {
	ids += 1;
	return `${prefix}-${ids}`;
}

/**
 * @param {(Child | Child[])[]} children
 * @returns {(Node | string)[]}
 */
function nodes(children) {
	const shown = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
	return shown.map((child) => (child instanceof Node ? child : String(child)));
}
