// The execution rules of Go's text/template (text/template/exec.go) on JSON values and formatter contexts.
import { TemplateError } from "./errors.ts";
import { lazyFunctions, type TemplateFunction, templateFunctions } from "./functions.ts";
import { goType, isObject, isTrue, printValue, sortedKeys, typeName } from "./go-values.ts";
import type { Call, Node, Operand, Pipeline, Position, Template } from "./nodes.ts";

export interface ExecuteOptions {
  /** `error`: a key that a map has not ends the execution, as `docker inspect` has it; else it prints `<no value>`. */
  readonly missingKey?: "default" | "error";
  readonly functions?: Readonly<Record<string, TemplateFunction>>;
  /** What a field that JSON leaves out, or makes null, stands for; undefined: nothing is known of it. */
  readonly zeroValue?: (fieldName: string) => unknown;
}

class Break extends Error {}
class Continue extends Error {}

const maxDepth = 1000;

/** Gives the template's output for `data`. Throws TemplateError, `template: :1:2: executing "" at <.Foo>: …`. */
export function executeTemplate(template: Template, data: unknown, options: ExecuteOptions = {}): string {
  const evaluator = new Evaluator(template, options);
  evaluator.run(template.body, data);
  return evaluator.output;
}

class Evaluator {
  output = "";
  readonly #template: Template;
  readonly #options: ExecuteOptions;
  #variables: { name: string; value: unknown }[] = [];
  #templateName = "";
  #depth = 0;

  constructor(template: Template, options: ExecuteOptions) {
    this.#template = template;
    this.#options = options;
  }

  run(body: readonly Node[], data: unknown): void {
    this.#variables = [{ name: "$", value: data }];
    this.#list(body, data);
  }

  #list(nodes: readonly Node[], dot: unknown): void {
    const scope = this.#variables.length;
    for (const node of nodes) this.#node(node, dot);
    this.#variables.length = scope;
  }

  #node(node: Node, dot: unknown): void {
    switch (node.kind) {
      case "text":
        this.output += node.text;
        return;
      case "output": {
        const value = this.#pipeline(node.pipeline, dot);
        if (node.pipeline.variables.length === 0) this.output += printValue(value);
        return;
      }
      case "if":
      case "with":
        this.#choice(node, dot);
        return;
      case "range":
        this.#range(node, dot);
        return;
      case "template":
        this.#invoke(node, dot);
        return;
      case "break":
        throw new Break();
      case "continue":
        throw new Continue();
    }
  }

  #choice(node: Extract<Node, { kind: "if" | "with" | "range" }>, dot: unknown): void {
    const scope = this.#variables.length;
    const value = this.#pipeline(node.pipeline, dot);
    if (isTrue(value)) this.#list(node.body, node.kind === "with" ? value : dot);
    else this.#list(node.otherwise, dot);
    this.#variables.length = scope;
  }

  #range(node: Extract<Node, { kind: "if" | "with" | "range" }>, dot: unknown): void {
    const scope = this.#variables.length;
    const { variables, assigns } = node.pipeline;
    const value = this.#pipeline({ ...node.pipeline, variables: [] }, dot);
    const items = this.#items(value, node.pipeline);
    for (const [key, item] of items) {
      const bound = variables.length === 1 ? [item] : [key, item];
      variables.forEach((name, index) => this.#bind(name, bound[index], assigns));
      try {
        this.#list(node.body, item);
      } catch (thrown) {
        if (thrown instanceof Break) break;
        if (!(thrown instanceof Continue)) throw thrown;
      } finally {
        this.#variables.length = scope;
      }
    }
    if (items.length === 0) this.#list(node.otherwise, dot);
    this.#variables.length = scope;
  }

  #items(value: unknown, pipeline: Pipeline): (readonly [unknown, unknown])[] {
    if (value === null || value === undefined) return [];
    if (Array.isArray(value)) return value.map((item, index) => [index, item] as const);
    if (isObject(value)) return sortedKeys(value).map((key) => [key, value[key]] as const);
    if (typeof value === "number") return Array.from({ length: value }, (_, index) => [index, index] as const);
    throw this.#fail(positionOf(pipeline), `range can't iterate over ${printValue(value)}`);
  }

  #invoke(node: Extract<Node, { kind: "template" }>, dot: unknown): void {
    const body = this.#template.named.get(node.name);
    if (!body) throw this.#fail(node.at, `template ${JSON.stringify(node.name)} not defined`);
    if (++this.#depth > maxDepth) throw this.#fail(node.at, "exceeded maximum template depth");
    const data = node.pipeline ? this.#pipeline(node.pipeline, dot) : undefined;
    const [variables, name] = [this.#variables, this.#templateName];
    this.#templateName = node.name;
    this.run(body, data);
    this.#variables = variables;
    this.#templateName = name;
    this.#depth--;
  }

  #pipeline(pipeline: Pipeline, dot: unknown): unknown {
    let value: unknown;
    pipeline.calls.forEach((call, index) => {
      value = this.#call(call, { dot, final: index > 0 ? [value] : [] });
    });
    for (const name of pipeline.variables) this.#bind(name, value, pipeline.assigns);
    return value;
  }

  #bind(name: string, value: unknown, assigns: boolean): void {
    const existing = assigns ? this.#variables.findLast((variable) => variable.name === name) : undefined;
    if (existing) existing.value = value;
    else this.#variables.push({ name, value });
  }

  #call(call: Call, context: { dot: unknown; final: readonly unknown[] }): unknown {
    const [head, ...rest] = call.operands;
    if (!head) return undefined;
    const { dot, final } = context;
    if (head.kind === "call") return this.#function(head, { rest, final, dot, at: call.at });
    const hasArguments = rest.length > 0 || final.length > 0;
    if (head.kind === "field" || head.kind === "variable" || head.kind === "chain") {
      const args = [...rest.map((operand) => this.#operand(operand, dot)), ...final];
      return this.#fields(this.#base(head, dot), head, args);
    }
    if (hasArguments) throw this.#fail(head.at, `can't give argument to non-function ${head.at.source}`);
    if (head.kind === "nil") throw this.#fail(head.at, "nil is not a command");
    return this.#operand(head, dot);
  }

  #operand(operand: Operand, dot: unknown): unknown {
    switch (operand.kind) {
      case "dot":
        return dot;
      case "nil":
        return null;
      case "literal":
        return operand.value;
      case "pipeline":
        return this.#pipeline(operand.pipeline, dot);
      case "call":
        return this.#function(operand, { rest: [], final: [], dot, at: operand.at });
      default:
        return this.#fields(this.#base(operand, dot), operand, []);
    }
  }

  #base(operand: Extract<Operand, { kind: "field" | "variable" | "chain" }>, dot: unknown): unknown {
    if (operand.kind === "field") return dot;
    if (operand.kind === "chain") return this.#operand(operand.base, dot);
    return this.#variables.findLast((variable) => variable.name === operand.name)?.value;
  }

  #fields(
    base: unknown,
    operand: Extract<Operand, { kind: "field" | "variable" | "chain" }>,
    args: readonly unknown[],
  ): unknown {
    let value = base;
    operand.names.forEach((name, index) => {
      const isLast = index === operand.names.length - 1;
      value = this.#field(value, name, { at: operand.at, args: isLast ? args : [] });
    });
    if (operand.names.length === 0 && args.length > 0) {
      throw this.#fail(operand.at, `can't give argument to non-function ${operand.at.source}`);
    }
    return value;
  }

  #field(value: unknown, name: string, context: { at: Position; args: readonly unknown[] }): unknown {
    const { at, args } = context;
    if (value === null || value === undefined) throw this.#fail(at, `nil pointer evaluating interface {}.${name}`);
    if (!isObject(value)) throw this.#fail(at, `can't evaluate field ${name} in type ${typeName(value)}`);
    if (!Object.hasOwn(value, name)) {
      const type = value[goType];
      if (type !== undefined) throw this.#fail(at, `can't evaluate field ${name} in type ${type}`);
      const zero = this.#options.zeroValue?.(name);
      if (zero !== undefined) return zero;
      if (this.#options.missingKey === "error")
        throw this.#fail(at, `map has no entry for key ${JSON.stringify(name)}`);
      return undefined;
    }
    const field = value[name];
    if (field === null) return this.#options.zeroValue?.(name) ?? null;
    if (typeof field === "function") return (field as TemplateFunction)(...args);
    if (args.length > 0) throw this.#fail(at, `${name} is not a method but has arguments`);
    return field;
  }

  #function(
    head: Extract<Operand, { kind: "call" }>,
    context: { rest: readonly Operand[]; final: readonly unknown[]; dot: unknown; at: Position },
  ): unknown {
    const { rest, final, dot, at } = context;
    if (lazyFunctions.has(head.name)) return this.#lazy(head, context);
    const call = (this.#options.functions ?? templateFunctions)[head.name];
    if (!call) throw this.#fail(head.at, `${JSON.stringify(head.name)} is not a defined function`);
    const args = [...rest.map((operand) => this.#operand(operand, dot)), ...final];
    const wanted = call.length;
    if (args.length < wanted) {
      throw this.#fail(head.at, `wrong number of args for ${head.name}: want ${wanted} got ${args.length}`);
    }
    try {
      return call(...args);
    } catch (thrown) {
      if (thrown instanceof TemplateError) throw thrown;
      throw this.#fail(at, `error calling ${head.name}: ${(thrown as Error).message}`);
    }
  }

  #lazy(
    head: Extract<Operand, { kind: "call" }>,
    context: { rest: readonly Operand[]; final: readonly unknown[]; dot: unknown },
  ): unknown {
    const { rest, final, dot } = context;
    const values = [...rest.map((operand) => () => this.#operand(operand, dot)), ...final.map((value) => () => value)];
    if (values.length === 0) {
      throw this.#fail(head.at, `wrong number of args for ${head.name}: want at least 1 got 0`);
    }
    let value: unknown;
    for (const read of values) {
      value = read();
      if (isTrue(value) === (head.name === "or")) break;
    }
    return value;
  }

  #fail(at: Position, message: string): TemplateError {
    const name = this.#templateName;
    return new TemplateError(
      `template: ${name === "" ? "" : name}:${at.line}:${at.column}: executing ${JSON.stringify(name)} at <${at.source}>: ${message}`,
    );
  }
}

function positionOf(pipeline: Pipeline): Position {
  const [call] = pipeline.calls;
  return call ? call.at : { line: 1, column: 0, source: "" };
}
