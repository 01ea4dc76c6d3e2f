// JSON Schemas for editors, from the plugins' own configuration tables: one for each plugin's object, one for a whole list.
// Stricter than the plugins, which ignore keys that they do not know: an editor is there to say so.

import { roles } from "../../cli/lint/order.ts";
import { schemaOf } from "../../lib/cni/config.ts";
import type { Suite } from "../../lib/cni/request.ts";
import { versions } from "../../lib/cni/result.ts";

export interface Schema {
  type?: string;
  enum?: readonly unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  patternProperties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema;
  required?: string[];
  minItems?: number;
  minimum?: number;
  maximum?: number;
  default?: unknown;
  description?: string;
  allOf?: Schema[];
  if?: Schema;
  then?: Schema;
  $ref?: string;
}

const draft = "http://json-schema.org/draft-07/schema#";
const cniVersion: Schema = { enum: versions, description: "version of the CNI specification" };
const name: Schema = {
  type: "string",
  description: "name of the network",
  ...{ pattern: "^[a-zA-Z0-9][a-zA-Z0-9_.-]*$" },
};
const capabilities: Schema = {
  type: "object",
  additionalProperties: { type: "boolean" },
  description: 'what the runtime is to tell of a pod, as { "portMappings": true }',
};
const free: Schema = { type: "object", description: "arguments, for whoever knows them" };

/** Objects whose keys are known take no others. */
function strict(schema: Schema): Schema {
  const closed = { ...schema };
  if (schema.properties) {
    closed.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([key, inner]) => [key, strict(inner)]),
    );
    closed.additionalProperties ??= false;
  }
  if (schema.items) closed.items = strict(schema.items);
  return closed;
}

const when = (type: string, then: Schema): Schema => ({ if: { properties: { type: { const: type } } }, then });
const isIpam = (type: string) => roles[type] === "ipam";

/** What stands under `ipam`: which keys, the type says. */
function ipamOf(suite: Suite): Schema {
  const ours = Object.keys(suite).filter(isIpam);
  return {
    type: "object",
    description: "address management",
    properties: {
      type: { type: "string", description: `plugin that gives the addresses: ${ours.join(", ")}, or another` },
    },
    required: ["type"],
    allOf: ours.map((type) => {
      const { properties = {} } = (schemaOf(suite[type]!.conf) as Schema).properties?.ipam ?? {};
      return when(type, strict({ properties: { type: {}, ...properties } }));
    }),
  };
}

/** One plugin's object, in a list or alone. */
function objectOf(type: string, suite: Suite): Schema {
  const { properties = {}, required = [] } = schemaOf(suite[type]!.conf) as Schema;
  const own = { ...properties };
  delete own.runtimeConfig; // the runtime's
  const schema = strict({ properties: own });
  const steps: Schema = { type: "array", minItems: 1, items: { $ref: "#/definitions/plugin" } };
  return {
    type: "object",
    properties: {
      cniVersion,
      name,
      type: { const: type },
      capabilities,
      args: free,
      ...schema.properties,
      ...(own.ipam ? { ipam: { $ref: "#/definitions/ipam" } } : {}),
      ...(type === "chain" ? { plugins: { ...steps, description: own.plugins?.description } } : {}),
      ...(own.capabilities ? { capabilities } : {}),
      ...(own.args ? { args: free } : {}),
    },
    required: ["type", ...required],
    additionalProperties: false,
    patternProperties: { "^cni\\.dev/": {} },
  };
}

function definitions(suite: Suite, types: readonly string[]): Record<string, Schema> {
  return {
    ipam: ipamOf(suite),
    plugin: {
      type: "object",
      properties: { type: { type: "string", description: "name of the plugin's executable" } },
      required: ["type"],
      allOf: types.map((type) => when(type, { $ref: `#/definitions/${type}` })),
    },
    ...Object.fromEntries(types.map((type) => [type, objectOf(type, suite)])),
  };
}

/** Every schema by the name of its file. */
export function schemas(suite: Suite): Record<string, unknown> {
  const types = Object.keys(suite).sort();
  const all = definitions(suite, types);
  const files: Record<string, unknown> = {
    "conflist.schema.json": {
      $schema: draft,
      title: "A CNI network configuration list",
      type: "object",
      properties: {
        cniVersion,
        cniVersions: {
          type: "array",
          items: cniVersion,
          description: "versions to choose from, the highest that is spoken",
        },
        name,
        disableCheck: { type: "boolean", default: false, description: "never look whether networks are whole" },
        disableGC: { type: "boolean", default: false, description: "never take away what crashes left" },
        loadOnlyInlinedPlugins: { type: "boolean", default: false, description: "take no further plugins from files" },
        args: free,
        plugins: { type: "array", minItems: 1, items: { $ref: "#/definitions/plugin" } },
      },
      required: ["cniVersion", "name", "plugins"],
      additionalProperties: false,
      patternProperties: { "^cni\\.dev/": {} },
      definitions: all,
    },
  };
  for (const type of types) {
    const needed = type === "chain" ? all : { ipam: all.ipam };
    const { [type]: _, ...others } = needed as Record<string, Schema>;
    // A chain's own definition stays: the plugins in it are told apart by all of them.
    const kept = type === "chain" ? { ...others, chain: { type: "object" } } : others;
    const body = { ...all[type] };
    const refers = JSON.stringify(body).includes("#/definitions/");
    files[`${type}.schema.json`] = {
      $schema: draft,
      title: `Plugin ${type}`,
      ...body,
      ...(refers ? { definitions: kept } : {}),
    };
  }
  return files;
}
