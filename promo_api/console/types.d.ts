// The types that modules of the console share. Browsers do not load this file.

/** A schema of the contract. */
interface Schema {
  $ref?: string;
  type?: string;
  format?: string;
  description?: string;
  enum?: any[];
  default?: any;
  nullable?: boolean;
  required?: string[];
  properties?: Record<string, Schema>;
  items?: Schema;
  discriminator?: { propertyName: string; mapping: Record<string, string> };
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  "x-violation"?: string | { pattern?: string; message: string }[];
}

/** What a request has besides its operation. */
interface ApiOptions {
  /** Values of the parameters in the path. */
  path?: Record<string, string>;
  /** A parameter that is `undefined` or empty is left out. */
  query?: Record<string, any>;
  /** A value, sent as JSON, or a file, sent with its `type`. */
  body?: any;
  /** The Idempotency-Key. */
  key?: string;
  /** Sent as If-Match. */
  etag?: string;
  /** A media type other than JSON. */
  accept?: string;
  signal?: AbortSignal;
  /** Gets how much of the body is sent, from 0 to 1. */
  onProgress?: (part: number) => void;
}

interface ApiResult {
  /** JSON, or a Blob if `accept` was given. */
  data: any;
  /** Of the next page. */
  cursor: string | null;
  /** The number of entries in all pages. */
  total: number;
  etag?: string;
}

/** A rule that a request breaks. */
interface Violation {
  in: string;
  pointer: string;
  message: string;
}

type Child = Node | string | number | null | undefined | false;
type Content = Child | Child[];

/** A visit of a screen. */
interface Visit {
  /** From the path. */
  params: Record<string, string>;
  query: URLSearchParams;
  /** Aborted when the screen is left. */
  signal: AbortSignal;
}

interface Route {
  /** A parameter is an id, such as `:id`. */
  path: string;
  /** The entry of the navigation. A screen without one needs no session. */
  section?: string;
  /** Returns the content, which begins with an h1. */
  screen: (visit: Visit) => Node | Promise<Node>;
}

interface Input {
  element: HTMLElement;
  /** Returns `undefined` if nothing is entered. */
  read: () => any;
  /** Whether it consists of several controls. */
  isGroup?: boolean;
}

/** A field of a form. */
interface Field {
  name: string;
  /** A JSON pointer in the body. */
  pointer: string;
  element: HTMLElement;
  /** Returns `undefined` if nothing is entered. */
  read: () => any;
  /** Shows the message about an invalid value, or none, and returns whether the value is valid. */
  check: () => boolean;
  /** Shows a message, or none. */
  show: (message: string | null) => void;
  /** The fields of an object. */
  fields: Field[];
}

interface FormOptions {
  /** Of an object. */
  schema: Schema;
  /** The members to show, in this order; all by default. */
  names?: string[];
  /** Shown at first. */
  values?: Record<string, any>;
  button: string;
  /** Gets the members that have a value, and the Idempotency-Key of this form. */
  submit: (value: any, key: string) => Promise<unknown>;
  onInput?: (value: Record<string, any>) => void;
  /** Next to the button. */
  aside?: Child;
}

interface Form {
  element: HTMLFormElement;
  read: () => Record<string, any>;
}

/** A column of a table. */
interface Column {
  title: string;
  /** Gets an entry. */
  cell: (entry: any) => Content;
  isNumber?: boolean;
  /** Whether only screen readers get the title. */
  isHidden?: boolean;
}

interface ChartData {
  title: string;
  /** Names of the values of a bucket. */
  series: string[];
  /** Whether columns show the sum of their values; otherwise later values are in front of the others. True by default. */
  isStacked?: boolean;
  /** From left to right; `tick` is a shorter label. */
  buckets: { label: string; tick?: string; values: number[] }[];
}

/** An entry of a list of things to look at. */
interface Entry {
  path: string;
  name: string;
  state: string;
  detail: string;
}

/** A period of the overview. It is loaded together with the period before it. */
interface Period {
  name: string;
  bucket: string;
  length: number;
  daysBack: number;
  buckets: any[];
}

/** Calls an operation, and shows its effect. */
type Call = (operationId: string, options?: ApiOptions) => Promise<any>;

/** What the tabs of the page of a promo share. */
interface PromoPage {
  signal: AbortSignal;
  path: { id: string };
  /** As it was last read. */
  promo: any;
  /** Reads the promo again, and updates the head. */
  refresh: () => Promise<void>;
}
