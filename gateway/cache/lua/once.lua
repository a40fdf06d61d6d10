-- once.lua: charge a call that carries an Idempotency-Key; one charge pays for its repeats.
--
-- KEYS[1] once  string  "busy_until_ms|ends_at_ms|repeats|fingerprint|receipt": what was charged under this key
-- KEYS[2] onces sorted set  what KEYS[1] ends in -> ends_at_ms: the keys that are kept of this customer
-- KEYS[3..]     as KEYS[1..] of charge.lua
-- ARGV[1] fingerprint of the call, without '|'   ARGV[2] receipt of the charge that may happen
-- ARGV[3] ms the key is kept                     ARGV[4] ms after which a call in flight is taken for lost
-- ARGV[5] repeats that one charge pays for       ARGV[6] the claims of a repeat, as ARGV[4] of charge.lua
-- ARGV[7] keys that are kept of a customer, at most
-- ARGV[8..]     as ARGV[1..] of charge.lua
--
-- Returns as charge.lua, and:
--         {5, now_ms, owed...} a repeat passed   {8, now_ms, owed...} a repeat, refused by its claims
--         {6, now_ms, wait_ms} the first is in flight, and taken for lost after wait_ms
--         {7, now_ms} the key was used for another call
--
-- Laws. The key is kept only if the charge passes, and nothing is written by 6, 7 and 8. Who asks is told
-- about the key only after charge.lua found the account current. A call in flight that was never
-- concluded (once_end.lua, once_refund.lua) stays charged. A repeat beyond those that are paid for is
-- a first call again. busy_until_ms is 0 once the first has ended. Where a customer has as many keys as
-- are kept, a call under another one is charged as if it had none, and nothing is kept of it.
--
-- Cluster: all keys share the {customer} tag.   Cost: as charge.lua, one GET; if charged, one SET and O(log keys) in KEYS[2].
local function charge(KEYS, ARGV)
-- include charge.lua
end

local format, unpack = string.format, unpack
local now = ARGV[9] + 0
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local is_repeat, busy_until, ends_at, repeats, fingerprint, receipt = false, nil, nil, nil, nil, nil
local own = redis.call('GET', KEYS[1])
if own then
  busy_until, ends_at, repeats, fingerprint, receipt = string.match(own, '^(%d+)|(%d+)|(%d+)|([^|]*)|(.*)$')
end
local claims, refusal = {unpack(ARGV, 8)}, nil
if ends_at and now < ends_at + 0 then
  if fingerprint ~= ARGV[1] then
    refusal = {7, now}
  elseif now < busy_until + 0 then
    refusal = {6, now, busy_until - now}
  elseif repeats + 0 < ARGV[5] + 0 then
    is_repeat = true
  end
end
if refusal then
  claims = {ARGV[8], ARGV[9], '0', ''}
elseif is_repeat then
  claims[4] = ARGV[6]
end

local reply = charge({unpack(KEYS, 3)}, claims)
if reply[1] > 1 then return reply end
if refusal then return refusal end
if is_repeat then
  if reply[1] == 0 then
    reply[1] = 8
  else
    local value = format('%s|%s|%d|%s|%s', busy_until, ends_at, repeats + 1, fingerprint, receipt)
    redis.call('SET', KEYS[1], value, 'KEEPTTL')
    reply[1] = 5
  end
elseif reply[1] == 1 then
  local name = string.match(KEYS[1], '[^:]*$')
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', format('%d', reply[2]))
  if redis.call('ZCARD', KEYS[2]) >= ARGV[7] + 0 and not redis.call('ZSCORE', KEYS[2], name) then return reply end
  redis.call('ZADD', KEYS[2], format('%d', reply[2] + ARGV[3]), name)
  if redis.call('PTTL', KEYS[2]) < ARGV[3] + 0 then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
  local value = format('%d|%d|0|%s|%s', reply[2] + ARGV[4], reply[2] + ARGV[3], ARGV[1], ARGV[2])
  redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
end
return reply
