// @ts-check
// Shows the screen that the fragment of the address names, such as #/promos?state=active.

import { ApiError, errorText } from "./api.js";
import { fill, h } from "./dom.js";
import { endSession, sessionToken } from "./session.js";
import { text } from "./text.js";

/** @type {AbortController} */
let visiting = new AbortController();

/**
 * Show the screens of the routes in `outlet`, from now on.
 * @param {Element} outlet
 * @param {Route[]} routes
 * @param {(route: Route) => void} onVisit
 */
export function startRouter(outlet, routes, onVisit) {
	const visit = () => show(outlet, routes, onVisit);
	addEventListener("hashchange", visit);
	visit();
}

/** Go to a screen. @param {string} path */
export function go(path) {
	location.hash = path;
}

/** Return the address of a screen, for a link. @param {string} path @param {Record<string, string>} [query] */
export function href(path, query = {}) {
	const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""));
	return `#${path}${parameters.size ? `?${parameters}` : ""}`;
}

/** Change the query in the address, and stay on the screen. @param {Record<string, string>} query */
export function replaceQuery(query) {
	history.replaceState(null, "", href(location.hash.slice(1).split("?")[0], query));
}

/** Show the current screen again. */
export function reload() {
	dispatchEvent(new HashChangeEvent("hashchange"));
}

/** @param {Element} outlet @param {Route[]} routes @param {(route: Route) => void} onVisit */
async function show(outlet, routes, onVisit) {
	visiting.abort();
	visiting = new AbortController();
	const { signal } = visiting;
	const [path, query = ""] = (location.hash.slice(1) || "/").split("?");
	const route = /** @type {Route} */ (routes.find((each) => pattern(each).test(path)));
	if (route.section !== undefined && sessionToken() === null) {
		endSession();
		return;
	}
	onVisit(route);
	outlet.setAttribute("aria-busy", "true");
	const params = { ...pattern(route).exec(path)?.groups };
	const content = await open(route, { params, query: new URLSearchParams(query), signal });
	if (!signal.aborted) {
		fill(outlet, content);
		outlet.removeAttribute("aria-busy");
		announce(outlet);
	}
}

/** @param {Route} route */
function pattern({ path }) {
	return new RegExp(`^${path.replace(/:(\w+)/, "(?<$1>[\\w-]{36})")}$`);
}

/** @param {Route} route @param {Visit} visit */
async function open(route, visit) {
	try {
		return await route.screen(visit);
	} catch (error) {
		if (!visit.signal.aborted && !(error instanceof ApiError)) {
			console.error(error);
		}
		return h("section", { className: "empty" },
			h("h1", {}, text("errors.title")),
			h("p", { role: "alert" }, errorText(error)),
			h("button", { type: "button", onclick: reload }, text("errors.retry")));
	}
}

/** Give the screen's heading to the title of the tab, and to screen readers. @param {Element} outlet */
function announce(outlet) {
	const heading = outlet.querySelector("h1");
	document.title = `${heading?.textContent} · ${text("app.name")}`;
	heading?.setAttribute("tabindex", "-1");
	heading?.focus();
	scrollTo(0, 0);
}
