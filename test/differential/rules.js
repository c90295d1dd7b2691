/*
 * What the peers do otherwise than RFC 6901 and 6902 say, each a predicate on the document before
 * an operation and the operation: while it holds, the peer's opinion does not count.
 */
'use strict';

module.exports = ({ tokens, find, parent, escape, isArray, isContainer }) => {
  // Does one of the operation's pointers ask an array for a token like this?
  const asksArray = (value, op, token) => [op.path, op.from].some((path) =>
    (tokens(path) || []).some((t, i, all) => token.test(t) &&
      isArray(find(value, all.slice(0, i).map(escape).map((e) => '/' + e).join('')))));
  const both = {
    'a "~" that is no escape is taken': (value, op) =>
      [op.path, op.from].some((p) => typeof p === 'string' && /~(?![01])/.test(p)),
    'a member of a scalar is taken': (value, op) =>
      [op.path, op.from].some((p) => tokens(p) && p !== '' && !isContainer(parent(value, p)) &&
        parent(value, p) !== undefined),
    'a copy or move beyond the end of an array is taken': (value, op) =>
      (op.op === 'copy' || op.op === 'move') && isArray(parent(value, op.path)) &&
      tokens(op.path).at(-1) > parent(value, op.path).length - (op.op === 'move'),
    // fast-json-patch checks the path before the removal, rfc6902 follows it there.
    'a move through the array that it shortens': (value, op) =>
      op.op === 'move' && tokens(op.path) && isArray(parent(value, op.from)) &&
      op.path.startsWith(op.from.slice(0, op.from.lastIndexOf('/') + 1)) &&
      tokens(op.path).length > tokens(op.from).length,
    // RFC 6902 is silent about it; asynx refuses, others make it null or nothing.
    'remove of the root': (value, op) => op.op === 'remove' && op.path === '',
  };
  return {
    'fast-json-patch': {
      ...both,
      'an empty index, or one with a leading zero, is taken': (value, op) =>
        asksArray(value, op, /^(0[0-9]+)?$/),
      'an index beyond all bounds is taken': (value, op) => asksArray(value, op, /^[0-9]{17,}$/),
      'a source that is no pointer is taken': (value, op) =>
        (op.op === 'copy' || op.op === 'move') && tokens(op.from) === null,
      'a move into itself is taken': (value, op) =>
        op.op === 'move' && tokens(op.from) && tokens(op.path) && op.path.startsWith(op.from + '/'),
      'something missing is moved or copied to the root': (value, op) =>
        (op.op === 'move' || op.op === 'copy') && op.path === '' && tokens(op.from) &&
        find(value, op.from) === undefined,
    },
    'rfc6902': {
      ...both,
      'the place behind the end of an array is taken for an element': (value, op) =>
        op.op !== 'add' && asksArray(value, op, /^-$/),
      'a test without a value is taken': (value, op) => op.op === 'test' && !('value' in op),
      'a name is taken for an index': (value, op) =>
        op.op !== 'add' && op.op !== 'test' && asksArray(value, op, /^(?!(0|[1-9][0-9]*|-)$)/),
    },
  };
};
