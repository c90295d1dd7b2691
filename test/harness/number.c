/*
 * number.c
 *	  Numbers between JSON text and the bytes of PostgreSQL's numeric.
 *
 * A numeric is a varlena header, then either one word (10, sign, 6 bits of
 * display scale, 7 bits of weight) or two (sign and 14 bits of scale; weight),
 * then digits in base 10000.  The value is the sum of digit[i] * 10000^(weight - i);
 * zeros are stripped at both ends.
 */
#include "number.h"

#include <ctype.h>

#define SHORT_FORM 0x8000
#define SHORT_NEGATIVE 0x2000
#define LONG_NEGATIVE 0x4000
#define LONG_SCALE_MASK 0x3FFF
#define SHORT_SCALE_SHIFT 7
#define SHORT_SCALE_MAX 63
#define SHORT_WEIGHT_MAX 63
#define SHORT_WEIGHT_MIN (-64)
#define GROUP 4

/* A JSON number taken apart. */
typedef struct Decimal
{
	bool		negative;
	char	   *digits;			/* all of them, without leading zeros */
	int			count;
	int			point;			/* digits before the decimal point; may be outside */
	int			scale;			/* digits after the point that are shown */
} Decimal;

/* A numeric taken apart. */
typedef struct Parts
{
	bool		negative;
	int			weight;
	int			scale;
	int			count;
	const int16 *digits;
} Parts;

/* Takes a JSON number apart. */
static void
parse_decimal(Decimal *decimal, const char *text, int len)
{
	const char *end = text + len;
	int			fraction = 0;
	bool		after_point = false;
	int			exponent = 0;

	memset(decimal, 0, sizeof(Decimal));
	decimal->digits = palloc(len + 1);
	if (*text == '-')
	{
		decimal->negative = true;
		text++;
	}
	for (; text < end && (isdigit((unsigned char) *text) || *text == '.'); text++)
	{
		if (*text == '.')
		{
			after_point = true;
			continue;
		}
		if (after_point)
			fraction++;
		if (decimal->count > 0 || *text != '0')
			decimal->digits[decimal->count++] = *text - '0';
	}
	if (text < end)
		exponent = atoi(text + 1);
	decimal->point = decimal->count - fraction + exponent;
	decimal->scale = Max(fraction - exponent, 0);
}

/* The digit at a power of ten; zero outside of those that were written. */
static int
decimal_digit(const Decimal *decimal, int power)
{
	int			index = decimal->point - 1 - power;

	return index >= 0 && index < decimal->count ? decimal->digits[index] : 0;
}

/* The base 10000 digit with that weight. */
static int16
decimal_group(const Decimal *decimal, int weight)
{
	int			value = 0;

	for (int i = GROUP - 1; i >= 0; i--)
		value = value * 10 + decimal_digit(decimal, weight * GROUP + i);
	return (int16) value;
}

/* Rounds towards minus infinity. */
static int
floor_div(int a, int b)
{
	return a >= 0 ? a / b : -((b - 1 - a) / b);
}

/* Appends one word. */
static uint32
put_word(char *out, uint32 len, uint16 word)
{
	if (out != NULL)
		memcpy(out + len, &word, sizeof(word));
	return len + sizeof(word);
}

/* Writes the word or the two words before the digits. */
static uint32
put_header(char *out, bool negative, int weight, int scale)
{
	uint32		len = VARHDRSZ;

	if (scale <= SHORT_SCALE_MAX && weight >= SHORT_WEIGHT_MIN && weight <= SHORT_WEIGHT_MAX)
		return put_word(out, len, SHORT_FORM | (negative ? SHORT_NEGATIVE : 0) |
						scale << SHORT_SCALE_SHIFT | (weight & 0x7F));
	len = put_word(out, len, (negative ? LONG_NEGATIVE : 0) | scale);
	return put_word(out, len, (uint16) weight);
}

/* Converts a JSON number exactly. */
uint32
number_from_text(const char *text, int len, char *out)
{
	Decimal		decimal;
	int			first;
	int			last;
	uint32		size;

	parse_decimal(&decimal, text, len);
	first = floor_div(decimal.point - 1, GROUP);
	last = floor_div(decimal.point - decimal.count, GROUP);
	while (last <= first && decimal_group(&decimal, last) == 0)
		last++;
	if (decimal.count == 0)
	{
		first = 0;
		last = 1;
		decimal.negative = false;
	}

	size = put_header(out, decimal.negative, first, decimal.scale);
	for (int weight = first; weight >= last; weight--)
		size = put_word(out, size, (uint16) decimal_group(&decimal, weight));
	if (out != NULL)
		SET_VARSIZE(out, size);
	pfree(decimal.digits);
	return size;
}

/* Takes a numeric apart. */
static Parts
take_apart(const char *numeric)
{
	const uint16 *words = (const uint16 *) VARDATA(numeric);
	int			count = (VARSIZE(numeric) - VARHDRSZ) / sizeof(uint16);
	Parts		parts;

	if (words[0] & SHORT_FORM)
	{
		parts.negative = (words[0] & SHORT_NEGATIVE) != 0;
		parts.scale = words[0] >> SHORT_SCALE_SHIFT & SHORT_SCALE_MAX;
		parts.weight = (words[0] & 0x7F) - (words[0] & 0x40) * 2;
		parts.count = count - 1;
	}
	else
	{
		parts.negative = (words[0] & LONG_NEGATIVE) != 0;
		parts.scale = words[0] & LONG_SCALE_MASK;
		parts.weight = (int16) words[1];
		parts.count = count - 2;
	}
	parts.digits = (const int16 *) words + (count - parts.count);
	return parts;
}

/* The decimal digit at a power of ten. */
static char
parts_digit(const Parts *parts, int power)
{
	static const int powers[] = {1, 10, 100, 1000};
	int			weight = floor_div(power, GROUP);
	int			index = parts->weight - weight;

	if (index < 0 || index >= parts->count)
		return '0';
	return '0' + parts->digits[index] / powers[power - weight * GROUP] % 10;
}

/* Writes a numeric without an exponent, as the server does. */
char *
number_to_text(const char *numeric)
{
	Parts		parts = take_apart(numeric);
	int			power = Max(parts.weight * GROUP + GROUP - 1, 0);
	char	   *text = palloc(power + parts.scale + 4);
	char	   *out = text;

	if (parts.negative)
		*out++ = '-';
	while (power > 0 && parts_digit(&parts, power) == '0')
		power--;
	for (; power >= 0; power--)
		*out++ = parts_digit(&parts, power);
	if (parts.scale > 0)
		*out++ = '.';
	for (; power >= -parts.scale; power--)
		*out++ = parts_digit(&parts, power);
	*out = '\0';
	return text;
}

/* Compares without looking at the scale. */
bool
number_equal(const char *a, const char *b)
{
	Parts		x = take_apart(a);
	Parts		y = take_apart(b);

	return x.negative == y.negative && x.weight == y.weight && x.count == y.count &&
		memcmp(x.digits, y.digits, x.count * sizeof(int16)) == 0;
}
