import { DistrEdgeError } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { assertLoopback, formatAddress, isLoopback, parseAddress } from './address.js';

describe('parseAddress', () => {
  it.each([
    ['127.0.0.1:7000', '127.0.0.1', 7000],
    ['localhost:0', 'localhost', 0],
    ['edge-3.lan:65535', 'edge-3.lan', 65535],
    ['[::1]:80', '::1', 80],
    ['[fe80::1%eth0]:9', 'fe80::1%eth0', 9],
  ])('reads %s, and formatAddress writes it back', (address, host, port) => {
    expect(parseAddress(address)).toEqual({ host, port });
    expect(formatAddress({ host, port })).toBe(address);
  });

  it.each([
    ['', 'no port'],
    ['localhost', 'no port'],
    [':80', 'no host'],
    ['localhost:', 'port is not a number'],
    ['localhost:http', 'port is not a number'],
    ['localhost:65536', 'port is not a number'],
    ['localhost:-1', 'port is not a number'],
    ['localhost:1e3', 'port is not a number'],
    ['::1:80', 'needs brackets'],
    ['[localhost]:80', 'no IPv6 address in the brackets'],
    ['[]:80', 'no IPv6 address in the brackets'],
    ['300.1.1.1:80', 'neither an IP address nor a name'],
    ['127.1:80', 'neither an IP address nor a name'],
    ['a b:80', 'neither an IP address nor a name'],
    ['http://localhost:80', 'needs brackets'],
    ['-x:80', 'neither an IP address nor a name'],
    ['[::1:80', 'no port'],
  ])('refuses %j: %s', (address, why) => {
    expect(() => parseAddress(address)).toThrow(why);
    try {
      parseAddress(address);
    } catch (error) {
      expect(error).toBeInstanceOf(DistrEdgeError);
      expect(error).toMatchObject({ code: 'ADDRESS_INVALID', where: address });
    }
  });
});

describe('isLoopback', () => {
  it.each([
    '127.0.0.1',
    '127.255.3.4',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::1%lo',
    '::ffff:127.0.0.1',
    'localhost',
    'LocalHost.',
  ])('takes %s for this machine', (host) => expect(isLoopback(host)).toBe(true));
  it.each([
    '0.0.0.0',
    '::',
    '128.0.0.1',
    '192.168.1.4',
    'fe80::1%eth0',
    'localhost.example',
    'example',
    '127.0.0.1.example',
  ])('does not take %s for this machine', (host) => expect(isLoopback(host)).toBe(false));
});

describe('assertLoopback', () => {
  it('accepts loopback addresses', () => expect(() => assertLoopback('[::1]:7000')).not.toThrow());
  it('refuses others, and says why', () => {
    expect(() => assertLoopback('192.168.1.4:7000')).toThrow('plain links are not authenticated');
    expect(() => assertLoopback('192.168.1.4:7000')).toThrow(expect.objectContaining({ code: 'ADDRESS_NOT_LOOPBACK' }));
    expect(() => assertLoopback('192.168.1.4')).toThrow(expect.objectContaining({ code: 'ADDRESS_INVALID' }));
  });
});
