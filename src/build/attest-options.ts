import { EngineError } from "../common/index.ts";
import { parseProvenanceOptions, type ProvenanceOptions } from "./provenance-predicate.ts";

/** What is to be attested of a build's image: `--sbom`, `--provenance`. */
export interface AttestOptions {
  readonly sbom: boolean;
  readonly provenance?: ProvenanceOptions | undefined;
}

/**
 * Reads `--sbom` and `--provenance`, or BuildKit's `attest:sbom` and `attest:provenance`. Undefined when nothing is asked for.
 * Throws `unsupported` for a scanner in an image: the engine has its own.
 */
export function attestOptions(texts: {
  readonly sbom: string | undefined;
  readonly provenance: string | undefined;
}): AttestOptions | undefined {
  const sbom = texts.sbom !== undefined && readSbom(texts.sbom);
  const provenance = texts.provenance === undefined ? undefined : parseProvenanceOptions(texts.provenance);
  return sbom || provenance ? { sbom, provenance } : undefined;
}

function readSbom(text: string): boolean {
  let asked = true;
  for (const field of text.split(",")) {
    if (["", "true", "1", "t", "type=sbom", "disabled=false"].includes(field)) continue;
    if (["false", "0", "f", "disabled=true"].includes(field)) asked = false;
    else if (field.startsWith("generator=")) {
      const why = "packages are found by the engine itself, and no image is run for it: leave the generator out";
      throw new EngineError("unsupported", `The SBOM option "${field}" is not followed: ${why}`);
    } else throw new EngineError("invalidArgument", `invalid SBOM option "${field}"`);
  }
  return asked;
}
