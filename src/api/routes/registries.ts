import * as v from "valibot";
import { EngineError } from "../../common/index.ts";
import type { Engine, RegistryCredentials } from "../../engine/index.ts";
import { json, jsonLines } from "../reply.ts";
import type { ApiRequest } from "../request.ts";
import type { Routes } from "../router.ts";
import { platformOf, withErrors, withPlatform } from "./images.ts";

const text = v.nullish(v.string(), "");
const authSchema = v.looseObject({
  username: text,
  password: text,
  serveraddress: text,
  identitytoken: text,
  registrytoken: text,
  auth: text,
});

export function registryRoutes(engine: Engine): Routes {
  const { registries } = engine;
  return {
    "POST /images/{name:image}/push": async (request) => {
      const tag = request.text("tag");
      const credentials = credentialsOf(request);
      return jsonLines(
        withErrors(
          registries.push(request.parameter("name"), {
            ...(tag ? { tag } : {}),
            ...withPlatform(platformOf(request)),
            credentials,
            left: request.signal,
          }),
        ),
      );
    },
    "POST /auth": async (request) => {
      const body = await request.json(authSchema);
      const { identityToken } = await registries.login({ ...fromBody(body), serverAddress: body.serveraddress });
      return json({ Status: "Login Succeeded", IdentityToken: identityToken ?? "" });
    },
    "GET /images/search": async (request) => {
      const term = request.text("term");
      if (term === undefined) throw new EngineError("invalidArgument", "A search needs a term");
      const limit = request.integer("limit");
      return json(
        await registries.search(term, {
          ...(limit === undefined ? {} : { limit }),
          filters: request.filters(),
          credentials: credentialsOf(request),
          left: request.signal,
        }),
      );
    },
    "GET /vitrine/images/{name:image}/manifests": async (request) =>
      json(
        await registries.manifests(request.parameter("name"), {
          credentials: credentialsOf(request),
          insecure: request.flag("insecure"),
        }),
      ),
    "GET /distribution/{name:image}/json": async (request) =>
      json(await registries.distribution(request.parameter("name"), credentialsOf(request))),
  };
}

/** `X-Registry-Auth`: JSON in base64, by the alphabet for URLs. Absent, empty and `{}` are nobody. Throws invalidArgument. */
export function credentialsOf(request: ApiRequest): RegistryCredentials | undefined {
  const header = request.header("x-registry-auth");
  if (header === undefined || header === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(header, "base64url").toString("utf8"));
  } catch (cause) {
    throw new EngineError("invalidArgument", "The header X-Registry-Auth is no JSON in base64", { cause });
  }
  const parsed = v.safeParse(authSchema, value ?? {});
  if (!parsed.success) throw new EngineError("invalidArgument", "The header X-Registry-Auth is not as the API has it");
  const credentials = fromBody(parsed.output);
  return Object.keys(credentials).length > 0 ? credentials : undefined;
}

function fromBody(body: v.InferOutput<typeof authSchema>): RegistryCredentials {
  const [, user = "", password = ""] = /^([^:]*):(.*)$/s.exec(Buffer.from(body.auth, "base64").toString("utf8")) ?? [];
  const username = body.username || user;
  return {
    ...(username ? { username, password: body.password || password } : {}),
    ...(body.identitytoken ? { identityToken: body.identitytoken } : {}),
    ...(body.registrytoken ? { registryToken: body.registrytoken } : {}),
  };
}
