/** Addresses of sockets, as people write them: `host:port`, an IPv6 host in brackets. */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import { DistrEdgeError } from '@distredge/core';

/** A parsed address. `host` is an IP address (without brackets) or a name. */
export interface Address {
  readonly host: string;
  /** 0 to 65535; 0 asks a listener for any free port. */
  readonly port: number;
}

const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Parses `host:port`. Throws `ADDRESS_INVALID`, saying what is wrong with it. */
export function parseAddress(address: string): Address {
  const [, bracketed, plain, digits] = /^(?:\[([^[\]]*)\]|([^[\]]*)):([^:]*)$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || digits === undefined) throw invalid(address, 'it has no port');
  if (bracketed !== undefined && !isIPv6(bracketed)) throw invalid(address, 'there is no IPv6 address in the brackets');
  if (plain?.includes(':')) throw invalid(address, 'an IPv6 address needs brackets');
  if (host === '') throw invalid(address, 'it has no host');
  if (plain !== undefined && !isIPv4(plain) && (!NAME.test(plain) || /^[\d.]+$/.test(plain))) {
    throw invalid(address, 'the host is neither an IP address nor a name');
  }
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!(port <= 65535)) throw invalid(address, 'the port is not a number from 0 to 65535');
  return { host, port };
}

/** Writes an address so that `parseAddress` reads it back. */
export function formatAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Whether a host can only be this machine: 127.0.0.0/8, ::1, or the name localhost. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 0) return /^localhost\.?$/i.test(host);
  const [ip = host] = host.split('%');
  return loopback.check(ip, isIPv4(ip) ? 'ipv4' : 'ipv6');
}

/** Throws `ADDRESS_NOT_LOOPBACK` unless `address` stays on this machine, and `ADDRESS_INVALID` as `parseAddress` does. */
export function assertLoopback(address: string): void {
  if (isLoopback(parseAddress(address).host)) return;
  throw new DistrEdgeError(
    'ADDRESS_NOT_LOOPBACK',
    `${address} leaves this machine: plain links are not authenticated`,
    {
      where: address,
      expected: 'an address of this machine (127.0.0.1, ::1 or localhost)',
      hint: 'use a loopback address; devices on other machines take part through a cluster: distredge up, distredge join',
    },
  );
}

function invalid(address: string, why: string): DistrEdgeError {
  return new DistrEdgeError('ADDRESS_INVALID', `${JSON.stringify(address)} is not an address: ${why}`, {
    where: address,
    expected: 'host:port, for example 127.0.0.1:7000 or [::1]:7000',
    got: address,
  });
}
