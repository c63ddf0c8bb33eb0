// Swagger UI in its plain layout: no bar for the addresses of other contracts, and no badge of a validator elsewhere.
"use strict";

const contract = new URL("../openapi.json", window.location.href).href;

// Swagger UI fills in the example of a parameter as if the person had: a filter that nobody chose, and page three of a
// short list. Here the form starts with the defaults, and the description tells the example where it says something new.
function tellExample(parameter) {
  const { default: preset, enum: choice, type } = parameter.schema ?? {};
  if (parameter.example !== undefined && (preset ?? choice) === undefined && type !== "boolean") {
    const values = [parameter.example].flat().map((value) => `\`${value}\``);
    parameter.description = `${parameter.description ?? ""} For example ${values.join(", ")}.`;
  }
  delete parameter.example;
}

function withoutFilledForms(text) {
  const read = JSON.parse(text);
  const items = Object.values(read.paths);
  const places = [...items, ...items.flatMap((item) => Object.values(item))].map((place) => place.parameters ?? []);
  [...places, Object.values(read.components?.parameters ?? {})].flat().forEach(tellExample);
  return JSON.stringify(read);
}

SwaggerUIBundle({
  url: contract,
  dom_id: "#swagger-ui",
  responseInterceptor: (response) => {
    if (response.ok && response.url === contract) {
      response.text = withoutFilledForms(response.text);
    }
    return response;
  },
  // The address names the operation that is open, so that it can be sent to somebody.
  deepLinking: true,
  // Tokens outlast a reload, in this browser; "Logout" in the dialog forgets them.
  persistAuthorization: true,
  // Groups and operations stand as they do in api.yml; beside each, the name of the function that does it.
  displayOperationId: true,
  displayRequestDuration: true,
  // The list of schemas is there, closed; the schema of a body is open.
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 3,
});
