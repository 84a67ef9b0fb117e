import { createHash } from "node:crypto";
import { orderRunConfig } from "../image/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";

/** What an image without one gets; Docker's. */
export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
export const defaultShell: readonly string[] = ["/bin/sh", "-c"];

export function shellOf(config: ImageRunConfig): readonly string[] {
  return config.Shell && config.Shell.length > 0 ? config.Shell : defaultShell;
}

export function environmentOf(config: ImageRunConfig): Map<string, string> {
  const variables = new Map<string, string>();
  for (const entry of config.Env ?? []) {
    const at = entry.indexOf("=");
    variables.set(at < 0 ? entry : entry.slice(0, at), at < 0 ? "" : entry.slice(at + 1));
  }
  return variables;
}

/** The config that a stage begins with, from the config of its base. */
export function initialRunConfig(base: ImageRunConfig | undefined): ImageRunConfig {
  const config: ImageRunConfig = { ...base, OpenStdin: false, StdinOnce: false };
  if (!environmentOf(config).has("PATH")) config.Env = [...(config.Env ?? []), `PATH=${defaultPath}`];
  return config;
}

/**
 * The content key of a step: the image it starts from, and the config with which its container is made, whose command says
 * what the step does (for COPY and ADD with the digest of the files). Names that differ from run to run are left out.
 * `surroundings` is what the command does not say and its result may depend on.
 */
export function stepKey(parentImageId: string, containerConfig: ImageRunConfig, surroundings = ""): string {
  const { Image: _image, Hostname: _hostname, Domainname: _domain, ...comparable } = orderRunConfig(containerConfig);
  return createHash("sha256")
    .update(JSON.stringify([parentImageId, comparable, surroundings]))
    .digest("hex");
}
