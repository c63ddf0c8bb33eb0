// @ts-check
// The dialogs that add codes to a promo: from a file, or random ones.

import { api, ApiError } from "../core/api.js";
import { bodySchema, findOperation, parameterSchema } from "../core/contract.js";
import { h } from "../core/dom.js";
import { text } from "../core/text.js";
import { openForm } from "../parts/action.js";

const IMPORT = "business_codes.append_codes";
const GENERATE = "business_codes.generate_codes";
/** @type {Record<string, string>} by the end of the name; all others have a code on each line, like CSV */
const TYPES = { ndjson: "application/x-ndjson", jsonl: "application/x-ndjson", json: "application/json" };
/** @typedef {{ id: string }} Path */

/** @param {Path} path @param {() => Promise<void>} done */
export function openGenerate(path, done) {
	openForm("codes.generate", { schema: bodySchema(GENERATE), submit: (body, key) => api(GENERATE, { path, body, key }), done });
}

/** Closing the dialog ends the upload, which then has no effect. @param {Path} path @param {() => Promise<void>} done */
export function openImport(path, done) {
	const closing = new AbortController();
	const { signal } = closing;
	const progress = h("progress", { max: 1, value: 0, hidden: true, "aria-label": text("codes.import.submit") });
	const onProgress = (/** @type {number} */ part) => { progress.value = part; };

	/** @param {Record<string, any>} query @param {string} form its Idempotency-Key */
	async function submit({ file, ...query }, form) {
		const body = await readable(file);
		// Another file or rule makes another request.
		const key = [form, query.on_duplicate, file.size, file.lastModified].join("-");
		progress.hidden = false;
		try {
			return await api(IMPORT, { path, query, body, key, onProgress, signal });
		} catch (error) {
			if (signal.aborted) {
				return new Promise(() => {});
			}
			// A file that has changed looks like a lost connection.
			await readable(file);
			throw error;
		} finally {
			progress.hidden = true;
		}
	}

	const properties = { file: { format: "binary" }, on_duplicate: parameterSchema(IMPORT, "on_duplicate") };
	const dialog = openForm("codes.import", { schema: { required: Object.keys(properties), properties }, submit, done });
	dialog.append(progress);
	dialog.addEventListener("close", () => closing.abort());
}

/** Return a file with its media type. @param {File} file @throws {ApiError} says why it can't be sent */
async function readable(file) {
	const type = TYPES[file.name.split(".").pop()?.toLowerCase() ?? ""] ?? "text/csv";
	const limit = findOperation(IMPORT).declared.requestBody.content[type]["x-max-bytes"] ?? Infinity;
	const isReadable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
	const fault = file.size > limit ? "too_large" : !isReadable ? "unreadable" : file.size === 0 && "empty";
	if (fault) {
		const message = text(`codes.${fault}`, { size: Math.floor(limit / 2 ** 20) });
		throw new ApiError(0, { details: [{ in: "body", pointer: "/file", message }] });
	}
	return file.slice(0, file.size, type);
}
