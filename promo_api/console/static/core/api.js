// @ts-check
// The only module that knows HTTP: calls operations of the contract by their operationId.

import { findOperation, useContract } from "./contract.js";
import { endSession, sessionToken } from "./session.js";
import { text } from "./text.js";

const BASE = new URL("../../../api/", import.meta.url);
const TIMEOUT_MS = 60_000;
const UNAUTHENTICATED = 401;

/** An error response, or no response: then the status is 0. */
export class ApiError extends Error {
	/** @param {number} status @param {any} body */
	constructor(status, body) {
		super(body?.message ?? text("errors.unknown", { status }));
		this.status = status;
		/** @type {string} */
		this.code = body?.code ?? "";
		/** @type {Violation[]} */
		this.details = body?.details ?? [];
	}
}

/** Return the message of an error for people. @param {unknown} error */
export function errorText(error) {
	return error instanceof ApiError ? error.message : text("errors.bug");
}

/** Read the contract. */
export async function loadContract() {
	useContract(JSON.parse(await (await send("GET", new URL("openapi.json", BASE), {})).response.text()));
}

/**
 * Call an operation. An error response is thrown as an ApiError.
 * @param {string} operationId @param {ApiOptions} [options] @returns {Promise<ApiResult>}
 */
export async function api(operationId, options = {}) {
	const token = sessionToken();
	const { method, path } = findOperation(operationId);
	try {
		const request = await send(method, address(path, options), options, token);
		return {
			data: options.accept ? request.response : JSON.parse(await request.response.text()),
			cursor: request.getResponseHeader("X-Next-Cursor"),
			total: Number(request.getResponseHeader("X-Total-Count")),
			etag: request.getResponseHeader("ETag") ?? undefined,
		};
	} catch (error) {
		if (error instanceof ApiError && error.status === UNAUTHENTICATED && token !== null) {
			endSession();
		}
		throw error;
	}
}

/** Return a new Idempotency-Key. */
export function newKey() {
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} path @param {ApiOptions} options */
function address(path, options) {
	const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(options.path?.[name] ?? ""));
	const url = new URL(filled.slice(1), BASE);
	for (const [name, value] of Object.entries(options.query ?? {})) {
		if (value !== undefined && value !== null && value !== "" && value.length !== 0) {
			url.searchParams.set(name, String(value));
		}
	}
	return url;
}

/**
 * Send a request. `fetch` could not report how much of a file it has sent.
 * @param {string} method @param {URL} url @param {ApiOptions} options @param {string | null} [token]
 * @returns {Promise<XMLHttpRequest>}
 */
function send(method, url, { accept, body, key, etag, signal, onProgress }, token) {
	const request = new XMLHttpRequest();
	request.open(method, url);
	request.responseType = "blob";
	// Files may take long.
	request.timeout = onProgress || accept ? 0 : TIMEOUT_MS;
	const headers = {
		Accept: accept ?? "application/json",
		Authorization: token && `Bearer ${token}`,
		"Content-Type": body instanceof Blob ? body.type : body && "application/json",
		"Idempotency-Key": key,
		"If-Match": etag,
	};
	Object.entries(headers).forEach(([name, value]) => value && request.setRequestHeader(name, value));
	request.upload.onprogress = onProgress ? (event) => onProgress(event.loaded / event.total) : null;
	return new Promise((done, fail) => {
		const unreachable = () => fail(new ApiError(0, { message: text("errors.unreachable") }));
		request.onload = async () => {
			const { status, response } = request;
			return status < 400 ? done(request) : fail(new ApiError(status, await response.text().then(JSON.parse).catch(() => null)));
		};
		request.onerror = unreachable;
		request.ontimeout = unreachable;
		request.onabort = () => fail(new DOMException("", "AbortError"));
		const abort = () => request.abort();
		signal?.addEventListener("abort", abort);
		// The signal of a screen lives longer than its requests.
		request.onloadend = () => signal?.removeEventListener("abort", abort);
		request.send(body === undefined || body instanceof Blob ? body : JSON.stringify(body));
	});
}
