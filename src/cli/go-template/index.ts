// Go's text/template for `--format`, with docker's functions.
import { type ExecuteOptions, executeTemplate } from "./evaluator.ts";
import { lazyFunctions, templateFunctions } from "./functions.ts";
import type { Template } from "./nodes.ts";
import { parseTemplate } from "./parser.ts";

export { TemplateError } from "./errors.ts";
export { headerFunctions } from "./functions.ts";
export { goType, type GoObject, nilList, nilMap, toJson } from "./go-values.ts";
export type { ExecuteOptions } from "./evaluator.ts";

/** A parsed template; `execute` may be called any number of times. */
export class GoTemplate {
  readonly #template: Template;

  /** Throws TemplateError: `template: :1: unclosed action`. */
  constructor(source: string) {
    this.#template = parseTemplate(source, new Set([...Object.keys(templateFunctions), ...lazyFunctions]));
  }

  /** Throws TemplateError: `template: :1:2: executing "" at <.Foo>: …`. */
  execute(data: unknown, options: ExecuteOptions = {}): string {
    return executeTemplate(this.#template, data, options);
  }
}
