-- settle.lua: end one receipt: correct what it charged to what the call cost, once. A refund corrects to nothing.
-- Quotas only: a rate counts attempts, and nothing corrects one.
--
-- KEYS[1] usage   hash    as in charge.lua
-- KEYS[2] receipt string  marker: this receipt has ended
-- ARGV[1] seconds the marker is kept
-- then three per part of the receipt: field change starts_at
--   its count moves by change (cost less what was charged, never 0), to 0 at least and 2^53 - 1 at most,
--   if its window is still the one that was charged. The limit is not asked: the units were used.
--
-- Returns {units given back, units charged more}, each summed over all quotas; {0, 0} for a receipt seen
-- before and for an account that is not here (its marker is not set then: nothing was done).
--
-- Cluster: both keys share the {customer} tag.   Cost: O(parts).
local MOST = 9007199254740991
local format, find, sub = string.format, string.find, string.sub
local count = (#ARGV - 1) / 3
local names = {'v', 's'}
for i = 1, count do names[2 + i] = ARGV[3 * i - 1] end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
if not stored[1] then return {0, 0} end
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return {0, 0} end

local given, taken, writes = 0, 0, {'s', format('%.0f', tonumber(stored[2] or 0) + 1)}
for i = 1, count do
  local at, value = 3 * i - 1, stored[2 + i]
  if value then
    local bar = find(value, '|', 1, true)
    local window, used = sub(value, 1, bar - 1), tonumber(sub(value, bar + 1))
    local change = math.min(math.max(tonumber(ARGV[at + 1]), -used), MOST - used)
    if tonumber(window) == tonumber(ARGV[at + 2]) and change ~= 0 then
      if change < 0 then given = given - change else taken = taken + change end
      writes[#writes + 1] = ARGV[at]
      writes[#writes + 1] = window .. '|' .. format('%.0f', used + change)
    end
  end
end
if #writes > 2 then redis.call('HSET', KEYS[1], unpack(writes)) end
return {given, taken}
