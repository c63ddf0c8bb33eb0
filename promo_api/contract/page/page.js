// Scalar shows api.yml and sends requests. Whatever it would load or send elsewhere is turned off.
"use strict";

const api = new URL(".", window.location.href).href;
const contract = new URL("openapi.json", api).href;
const notice = document.querySelector("#notice");
const NOTICE_MS = 6000;
const HELP =
  "**Try it.** *Test Request* sends a request to this server. After a sign-up or a sign-in, requests of that kind of " +
  "account use its token until the page is reloaded.";
// What the sign-ups and sign-ins on this page returned, by security scheme.
const tokens = {};
let specification;
let authentication;
let hiding;

// Scalar fills in the examples of parameters, such as a filter or the third page of a list. Here the form of optional
// parameters starts with the defaults, and the description shows the example if there are no default and no choices.
function showExample(parameter, schemas) {
  if (parameter.required || !parameter.schema) {
    return;
  }
  const named = schemas[parameter.schema?.$ref?.split("/").pop()];
  parameter.schema = { ...(named ?? parameter.schema) };
  delete parameter.schema.example;
  const { default: preset, enum: choice, type } = parameter.schema;
  if (parameter.example !== undefined && (preset ?? choice) === undefined && type !== "boolean") {
    const values = [parameter.example].flat().map((value) => `\`${value}\``);
    parameter.description = `${parameter.description ?? ""} For example ${values.join(", ")}.`;
  }
  delete parameter.example;
}

function prepare(read) {
  const items = Object.values(read.paths);
  const places = [...items, ...items.flatMap((item) => Object.values(item))].map((place) => place.parameters ?? []);
  const parameters = [...places, Object.values(read.components?.parameters ?? {})];
  parameters.flat().forEach((parameter) => showExample(parameter, read.components?.schemas ?? {}));
  read.info.description = `${read.info.description ?? ""}\n\n${HELP}`;
  // A proxy may serve the API below a prefix.
  read.servers = [{ ...read.servers?.[0], url: api.replace(/\/$/, "") }];
  return read;
}

async function fetchPrepared(input, init) {
  const response = await fetch(input, init);
  if (!response.ok || response.url !== contract) {
    return response;
  }
  specification = prepare(await response.json());
  return new Response(JSON.stringify(specification), { headers: { "Content-Type": "application/json" } });
}

// The first segment of a path names the kind of account, whose operations have one security scheme.
function schemeOf(path) {
  const account = `/${path.split("/")[1]}/`;
  const items = Object.entries(specification.paths).filter(([each]) => each.startsWith(account));
  const secured = items.flatMap(([, item]) => Object.values(item)).find((operation) => operation.security?.length);
  return secured && Object.keys(secured.security[0])[0];
}

// What was typed into the field of a scheme; Scalar prefers it to the configuration.
function typedToken(scheme) {
  return Object.values(authentication.export())[0]?.secrets[scheme]?.["x-scalar-secret-token"];
}

async function takeToken({ request, response }) {
  const token = response.ok ? (await response.clone().json().catch(() => null))?.token : undefined;
  const scheme = typeof token === "string" ? schemeOf(request.url.slice(api.length - 1)) : undefined;
  if (scheme) {
    tokens[scheme] = { token, typed: typedToken(scheme) };
    reference.updateConfiguration({ ...configuration, authentication: { securitySchemes: tokens } });
    notice.textContent = `Signed in. Requests that need ${scheme} now use this token.`;
    window.clearTimeout(hiding);
    hiding = window.setTimeout(() => { notice.textContent = ""; }, NOTICE_MS);
  }
}

// A token that was typed before the sign-in must not be used any more.
function useToken({ requestBuilder }) {
  const scheme = schemeOf(requestBuilder.path.raw);
  if (scheme in tokens && tokens[scheme].typed === typedToken(scheme)) {
    requestBuilder.security.forEach((header) => { header.value = tokens[scheme].token; });
  }
}

const configuration = {
  url: contract,
  customFetch: fetchPrepared,
  onResponseReceived: takeToken,
  onBeforeRequest: useToken,
  plugins: [() => ({ name: "tokens", extensions: [], hooks: { onInit: ({ auth }) => { authentication = auth; } } })],
  // Tokens stay in the memory of the page.
  persistAuth: false,
  showOperationId: true,
  documentDownloadType: "direct",
  // Nothing from other servers, and no links to services of Scalar.
  telemetry: false,
  withDefaultFonts: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
};
const reference = Scalar.createApiReference("#reference", configuration);
