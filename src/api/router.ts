import findMyWay from "find-my-way";
import { EngineError } from "../common/index.ts";
import type { ApiReply } from "./reply.ts";
import type { ApiRequest } from "./request.ts";
import { describeUnbuilt } from "./unbuilt-routes.ts";
import { apiVersion, compareVersions, minimumApiVersion } from "./versions.ts";

export type Route = (request: ApiRequest) => Promise<ApiReply>;
export type Routes = Readonly<Record<`${"GET" | "POST" | "PUT" | "DELETE" | "HEAD"} /${string}`, Route>>;

/** Image names hold slashes, which a parameter cannot: within `/images/{name}/json` they are written as %2F before the search. */
function withFoldedImageName(method: string, path: string): string {
  const pattern =
    method === "DELETE" ? /(?<=^\/images\/).+$/ : /(?<=^(?:(?:\/vitrine)?\/images|\/distribution)\/).+(?=\/[a-z]+$)/;
  return path.replace(pattern, (name) => name.replaceAll("/", "%2F"));
}

export class Router {
  readonly #routes = findMyWay({ ignoreTrailingSlash: true, maxParamLength: 4096 });

  add(routes: Routes): void {
    for (const [key, route] of Object.entries(routes)) {
      const [method, path] = key.split(" ") as ["GET", string];
      this.#routes.on(method, path.replace("{name:image}", ":name"), () => {}, route);
    }
  }

  /** Finds the route of a path that may begin with `/v1.NN`. Unknown ones throw notFound in Docker's words. */
  find(
    method: string,
    path: string,
  ): {
    route: Route;
    parameters: Record<string, string | undefined>;
    version: string;
  } {
    const versioned = /^\/v(\d+\.\d+)(\/.*)$/.exec(path);
    if (versioned) checkVersion(versioned[1] ?? "");
    const found = this.#routes.find(method as "GET", withFoldedImageName(method, versioned?.[2] ?? path));
    if (!found) throw unknownRoute(method, versioned?.[2] ?? path);
    return { route: found.store as Route, parameters: found.params, version: versioned?.[1] ?? apiVersion };
  }
}

function unknownRoute(method: string, path: string): EngineError {
  const unbuilt = describeUnbuilt(method, path.slice(0, 200));
  return unbuilt ? new EngineError("unsupported", unbuilt) : new EngineError("notFound", "page not found");
}

function checkVersion(version: string): void {
  if (compareVersions(version, minimumApiVersion) < 0) {
    throw new EngineError(
      "invalidArgument",
      `client version ${version} is too old. Minimum supported API version is ${minimumApiVersion}, please upgrade your client to a newer version`,
    );
  }
  if (compareVersions(version, apiVersion) > 0) {
    throw new EngineError(
      "invalidArgument",
      `client version ${version} is too new. Maximum supported API version is ${apiVersion}`,
    );
  }
}
