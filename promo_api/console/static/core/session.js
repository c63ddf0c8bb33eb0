// @ts-check
// The token of the company. The browser deletes it when the tab is closed.

const NAME = "promo-console-token";

/** Return the token; null: the company has not signed in. */
export function sessionToken() {
	return sessionStorage.getItem(NAME);
}

/** Begin a session. @param {string} token */
export function beginSession(token) {
	sessionStorage.setItem(NAME, token);
}

/** Forget the token. */
export function forgetToken() {
	sessionStorage.removeItem(NAME);
}

/** Forget the token, and show the sign-in, which leads back to this screen. */
export function endSession() {
	forgetToken();
	const place = location.hash.slice(1) || "/";
	location.hash = place.startsWith("/sign-in") ? place : `/sign-in?next=${encodeURIComponent(place)}`;
}
