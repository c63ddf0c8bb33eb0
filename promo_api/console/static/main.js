// @ts-check
// Starts the console: the frame of all screens, and the routes.

import { errorText, loadContract } from "./core/api.js";
import { fill, h } from "./core/dom.js";
import { href, startRouter } from "./core/router.js";
import { text } from "./core/text.js";
import { placeNotices } from "./parts/notice.js";
import { accountScreen } from "./screens/account.js";
import { keysScreen } from "./screens/keys.js";
import { overviewScreen } from "./screens/overview.js";
import { editPromoScreen, newPromoScreen } from "./screens/promo-form.js";
import { promoScreen } from "./screens/promo.js";
import { promosScreen } from "./screens/promos.js";
import { redemptionsScreen } from "./screens/redemptions.js";
import { forgotPasswordScreen, resetPasswordScreen, signInScreen, signOut, signUpScreen } from "./screens/sign-in.js";
import { webhookScreen, webhooksScreen } from "./screens/webhooks.js";

/** @type {Route[]} */
const ROUTES = [
	{ path: "/sign-in", screen: signInScreen },
	{ path: "/sign-up", screen: signUpScreen },
	{ path: "/forgot-password", screen: forgotPasswordScreen },
	{ path: "/reset-password", screen: resetPasswordScreen },
	{ path: "/", section: "overview", screen: overviewScreen },
	{ path: "/promos", section: "promos", screen: promosScreen },
	{ path: "/promos/new", section: "promos", screen: newPromoScreen },
	{ path: "/promos/:id", section: "promos", screen: promoScreen },
	{ path: "/promos/:id/edit", section: "promos", screen: editPromoScreen },
	{ path: "/redemptions", section: "redemptions", screen: redemptionsScreen },
	{ path: "/webhooks", section: "webhooks", screen: webhooksScreen },
	{ path: "/webhooks/:id", section: "webhooks", screen: webhookScreen },
	{ path: "/keys", section: "keys", screen: keysScreen },
	{ path: "/account", section: "account", screen: accountScreen },
	{ path: ".*", section: "", screen: notFound },
];
/** The paths of sections. @type {Record<string, string>} */
const SECTIONS = { overview: "/", promos: "/promos", redemptions: "/redemptions", webhooks: "/webhooks", keys: "/keys", account: "/account" };

function notFound() {
	return h("section", { className: "empty" }, h("h1", {}, text("errors.not_found")),
		h("a", { href: href("/") }, text("errors.home")));
}

function makeFrame() {
	const links = Object.entries(SECTIONS).map(([section, path]) => h("a", { href: href(path), id: `nav-${section}` }, text(`nav.${section}`)));
	const leave = h("button", { type: "button", className: "plain", onclick: signOut }, text("nav.sign_out"));
	const menu = h("nav", { id: "menu", "aria-label": text("nav.label") }, links, leave);
	const toggle = h("button", {
		type: "button", className: "plain menu", "aria-expanded": "false", "aria-controls": "menu",
		onclick: () => toggle.setAttribute("aria-expanded", String(toggle.getAttribute("aria-expanded") !== "true")),
	}, text("nav.menu"));
	const main = h("main", { id: "main" });
	document.body.append(
		h("a", { className: "skip", href: "#main", onclick: (/** @type {Event} */ event) => skipTo(event, main) }, text("nav.skip")),
		h("header", { className: "frame" }, h("a", { className: "brand", href: href("/") }, text("app.name")), toggle, menu), main);
	return { main, toggle };
}

/** Move the focus without changing the fragment, which names the screen. @param {Event} event @param {HTMLElement} main */
function skipTo(event, main) {
	event.preventDefault();
	main.querySelector("h1")?.focus();
}

/** @param {Route} route @param {Element} toggle */
function markSection(route, toggle) {
	document.body.classList.toggle("signed-in", route.section !== undefined);
	toggle.setAttribute("aria-expanded", "false");
	for (const section of Object.keys(SECTIONS)) {
		const link = /** @type {HTMLElement} */ (document.getElementById(`nav-${section}`));
		link.ariaCurrent = section === route.section ? "page" : null;
	}
}

async function start() {
	placeNotices();
	try {
		await loadContract();
	} catch (error) {
		fill(document.body, h("main", {}, h("p", { role: "alert" }, errorText(error))));
		return;
	}
	const { main, toggle } = makeFrame();
	startRouter(main, ROUTES, (route) => markSection(route, toggle));
}

start();
