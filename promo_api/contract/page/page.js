// Swagger UI in its plain layout: no bar for other specifications, and no badge of an external validator.
"use strict";

const contract = new URL("../openapi.json", window.location.href).href;

// Swagger UI fills in the examples of parameters, such as a filter or the third page of a list. Here the form starts
// with the defaults, and the description shows the example if there are no default and no choices.
function showExample(parameter) {
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
  [...places, Object.values(read.components?.parameters ?? {})].flat().forEach(showExample);
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
  // The URL contains the open operation, so that it can be shared.
  deepLinking: true,
  // Tokens are stored in the browser until "Logout" in the dialog.
  persistAuthorization: true,
  // Groups and operations have the order of api.yml. Each shows its operationId.
  displayOperationId: true,
  displayRequestDuration: true,
  // The list of schemas is closed, and the schema of a body is open.
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 3,
});
