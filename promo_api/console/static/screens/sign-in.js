// @ts-check
// Sign-in, sign-up, and passwords that are forgotten.

import { bodySchema } from "../core/contract.js";
import { api } from "../core/api.js";
import { h } from "../core/dom.js";
import { go, href } from "../core/router.js";
import { beginSession, forgetToken } from "../core/session.js";
import { text } from "../core/text.js";
import { makeForm, operationForm } from "../forms/form.js";

/** @param {Visit} visit */
export function signInScreen({ query }) {
	const next = query.get("next") ?? "/";
	const form = operationForm("business_auth.sign_in", {
		schema: bodySchema("business_auth.sign_in"),
		button: text("sign_in.button"),
		done: ({ token }) => enter(token, next),
	});
	return card(text("sign_in.title"), query.has("next") && next !== "/" && h("p", { role: "status" }, text("sign_in.ended")),
		form.element,
		links(["/forgot-password", "sign_in.forgotten"], ["/sign-up", "sign_in.sign_up"]));
}

/** @param {Visit} _visit */
export function signUpScreen(_visit) {
	const form = operationForm("business_auth.sign_up", {
		schema: bodySchema("business_auth.sign_up"),
		button: text("sign_up.button"),
		done: ({ token }) => enter(token, "/"),
	});
	return card(text("sign_up.title"), form.element, links(["/sign-in", "sign_up.sign_in"]));
}

/** @param {Visit} _visit */
export function forgotPasswordScreen(_visit) {
	const form = operationForm("business_auth.forgot_password", {
		schema: bodySchema("business_auth.forgot_password"),
		button: text("forgotten.button"),
		done: () => form.element.replaceWith(h("p", { role: "status" }, text("forgotten.sent"))),
	});
	return card(text("forgotten.title"), h("p", {}, text("forgotten.intro")), form.element,
		links(["/sign-in", "sign_up.sign_in"]));
}

/** The link of a mail leads here, with the token and the kind of account. @param {Visit} visit */
export function resetPasswordScreen({ query }) {
	const isUser = query.get("kind") === "user";
	const token = query.get("token");
	const operationId = isUser ? "user_auth.reset_password" : "business_auth.reset_password";
	const { element } = makeForm({
		schema: bodySchema(operationId),
		names: token ? ["password"] : ["token", "password"],
		button: text("reset.button"),
		submit: async (body) => {
			await api(operationId, { body: { token, ...body } });
			element.replaceWith(h("p", { role: "status" }, text("reset.done")));
		},
	});
	return card(text("reset.title"), element, !isUser && links(["/sign-in", "sign_in.title"]));
}

/** End the session. */
export async function signOut() {
	await api("business_auth.sign_out").catch(() => null);
	forgetToken();
	go("/sign-in");
}

/** @param {string} token @param {string} next */
function enter(token, next) {
	beginSession(token);
	go(next);
}

/** @param {string} title @param {...Child} content */
function card(title, ...content) {
	return h("section", { className: "card narrow" }, h("h1", {}, title), ...content);
}

/** @param {...[string, string]} targets path and text */
function links(...targets) {
	return h("p", { className: "links" }, targets.map(([path, key]) => h("a", { href: href(path) }, text(key))));
}
