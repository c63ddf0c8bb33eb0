// @ts-check
// Reads the contract, an OpenAPI document: operations and schemas.

/** @typedef {{ method: string, path: string, declared: any }} Operation */

/** @type {any} */
let contract;
/** @type {Map<string, Operation>} */
const operations = new Map();

/** Use this document. @param {any} document */
export function useContract(document) {
	contract = document;
	for (const [path, item] of Object.entries(document.paths)) {
		for (const [method, declared] of Object.entries(/** @type {any} */ (item))) {
			operations.set(declared.operationId, { method: method.toUpperCase(), path, declared });
		}
	}
}

/** Return an operation. @param {string} operationId @returns {Operation} */
export function findOperation(operationId) {
	const operation = operations.get(operationId);
	if (operation === undefined) {
		throw new Error(`The contract has no operation ${operationId}.`);
	}
	return operation;
}

/** Return a schema with its references followed. @param {Schema} schema @returns {Schema} */
export function resolve(schema) {
	return schema.$ref === undefined ? schema : resolve(component(schema.$ref));
}

/** Return a named schema. @param {string} name @returns {Schema} */
export function namedSchema(name) {
	return resolve({ $ref: `#/components/schemas/${name}` });
}

/** Return the schema of a JSON body. @param {string} operationId @returns {Schema} */
export function bodySchema(operationId) {
	return resolve(findOperation(operationId).declared.requestBody.content["application/json"].schema);
}

/** Return the schema of a query parameter. @param {string} operationId @param {string} name @returns {Schema} */
export function parameterSchema(operationId, name) {
	const parameters = findOperation(operationId).declared.parameters.map(resolve);
	return resolve(parameters.find((/** @type {any} */ each) => each.name === name).schema);
}

/** Return the alternatives of a schema by the value of its discriminator. @param {Schema} schema */
export function alternatives(schema) {
	const mapping = Object.entries(schema.discriminator?.mapping ?? {});
	return Object.fromEntries(mapping.map(([value, $ref]) => [value, resolve({ $ref })]));
}

/** Sort names: known ones in their order, then the others. @param {string[]} names @param {string[]} known */
export function inOrder(names, known) {
	return [...known.filter((name) => names.includes(name)), ...names.filter((name) => !known.includes(name))];
}

/** @param {string} reference such as `#/components/schemas/Age` */
function component(reference) {
	return reference.split("/").slice(1).reduce((part, name) => part[name], contract);
}
