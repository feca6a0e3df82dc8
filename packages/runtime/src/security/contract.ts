/**
 * What the security of a cluster is made of: identities that its own CA issued, the list of those that it took back, and the
 * authority that does both. `docs/SECURITY.md` says against whom this protects.
 */

/** What a member of a cluster may be: the controller, or one of the devices. Written into its certificate. */
export type Role = 'controller' | 'device';

/** Who the other end of a connection is, as its certificate says. */
export interface PeerIdentity {
  /** 32 hex digits: a hash of the CA's public key. */
  readonly clusterId: string;
  /** 16 hex digits. */
  readonly deviceId: string;
  readonly role: Role;
  /** The certificate's serial number: lower-case hex digits without leading zeros. */
  readonly serial: string;
  /** When the certificate ends, in ms since the epoch. */
  readonly expires: number;
}

/** The list of certificates that the CA has taken back, as one member of the cluster holds it. */
export interface Revocations {
  /** Grows with every list that the CA signs; 0 for none. */
  readonly version: number;
  /** The list itself: an X.509 CRL, PEM. Empty for version 0. */
  readonly pem: string;
  has(serial: string): boolean;
  /**
   * Takes a list (PEM) over, if it is newer; resolves to whether it was. The list is in force at once, open connections
   * included, and then kept on disk. Throws `PEER_REFUSED` for a list that this cluster's CA did not sign or that is older than
   * the one held, and `FILE` where it cannot be kept (it is in force all the same).
   */
  accept(pem: string): Promise<boolean>;
  /** Calls `listener` after every change, until the returned function is called. */
  onChange(listener: () => void): () => void;
}

/** What a member of a cluster proves with who it is. Certificate and key are replaced when they are renewed; the rest stays. */
export interface Identity {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly deviceId: string;
  /** What people call it; says nothing about who it is. */
  readonly deviceName: string;
  readonly role: Role;
  /** PEM. */
  readonly certificate: string;
  /** The private key, PEM (PKCS #8). Never leaves the machine. */
  readonly key: string;
  /** The cluster's CA certificate, PEM. */
  readonly ca: string;
  readonly revocations: Revocations;
  /** Calls `listener` after every renewal, until the returned function is called. */
  onRenewed(listener: () => void): () => void;
}

/** A code that lets one device join, once. */
export interface JoinCode {
  /** 16 letters and digits in groups of four; carried to the device by a person. */
  readonly code: string;
  /** In ms since the epoch. */
  readonly expires: number;
}

/** A device that the authority has given a certificate, or several, one after another: this tells of the last. */
export interface IssuedDevice {
  readonly deviceId: string;
  readonly deviceName: string;
  /** When its certificate was issued and when it ends, in ms since the epoch. */
  readonly issued: number;
  readonly expires: number;
  readonly revoked: boolean;
}

/** The CA of a cluster, and the controller's own identity. */
export interface ClusterAuthority {
  readonly clusterId: string;
  readonly clusterName: string;
  /** The controller's own; its `revocations` are the newest there are. */
  readonly identity: Identity;
  /** Makes a code for one device. Default `ttlMs`: ten minutes. Throws `USAGE` for a time outside 1 s to 24 h. */
  issueCode(options?: { readonly ttlMs?: number }): JoinCode;
  /** Every device that was ever issued a certificate. */
  devices(): readonly IssuedDevice[];
  /** Takes back all certificates of a device. Throws `USAGE` for a device that is unknown. The controller cannot be revoked. */
  revoke(deviceId: string): Promise<void>;
}

/** What a join server tells of; `remote` is the address of the other end. */
export type JoinEvent =
  | { readonly type: 'joined'; readonly remote: string; readonly deviceId: string; readonly deviceName: string }
  /** A device has a new certificate in place of one that would end soon. */
  | { readonly type: 'renewed'; readonly remote: string; readonly deviceId: string; readonly deviceName: string }
  | {
      readonly type: 'refused';
      readonly remote: string;
      /** Why, for programs: a `wrong-code` may be a guess; `code-dead` is one that too many guesses ended. */
      readonly reason:
        | 'wrong-code'
        | 'code-used'
        | 'code-expired'
        | 'code-dead'
        | 'too-many-attempts'
        | 'too-many-connections'
        | 'malformed'
        | 'deadline'
        /** Wants a certificate renewed that is none of a device of this cluster, was revoked, or has ended. */
        | 'no-member'
        /** Wants a certificate renewed that does not end soon. */
        | 'not-due'
        | 'connection'
        | 'failed';
      /** Why, for people. */
      readonly message: string;
    };

export interface JoinServerOptions {
  readonly authority: ClusterAuthority;
  /** `host:port`; port 0 takes any free one. */
  readonly listen: string;
  /** Hears of every device that joined and of every refusal, for logs. */
  readonly onEvent?: (event: JoinEvent) => void;
  /** How long one device may take to join, in ms. Default 20000. */
  readonly deadlineMs?: number;
}

export interface JoinServer {
  readonly address: string;
  close(): Promise<void>;
}

export interface JoinOptions {
  /** Of the join server: `host:port`. */
  readonly address: string;
  readonly code: string;
  /** 1 to 64 letters, digits, blanks, dots, dashes or underscores. */
  readonly deviceName: string;
  /** Where to keep the identity; made where missing. */
  readonly folder: string;
  /** How long all of it may take, in ms. Default 20000. */
  readonly deadlineMs?: number;
}

export interface RenewOptions {
  /** Of the join server: `host:port`. */
  readonly address: string;
  /** Where the identity is kept. */
  readonly folder: string;
  /** How long all of it may take, in ms. Default 20000. */
  readonly deadlineMs?: number;
}

/** Options for both ends of a TLS connection between members of a cluster: `tls.connect`, `tls.createServer`, an MQTT client. */
export interface TlsOptions {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
  /** The revocations held when the options were made; absent when there are none. */
  readonly crl?: string;
  readonly minVersion: 'TLSv1.3';
  readonly maxVersion: 'TLSv1.3';
  readonly secureOptions: number;
  readonly requestCert: true;
  readonly rejectUnauthorized: true;
  /** Holds the server to a certificate of this cluster, wherever it listens. */
  readonly checkServerIdentity: (host: string, certificate: { readonly subjectaltname?: string }) => Error | undefined;
}
