/** A template that cannot be parsed or executed; the message is Go's, `template: :1: unclosed action`. */
export class TemplateError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TemplateError";
  }
}
