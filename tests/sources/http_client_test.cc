#include "sources/http_client.h"

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

TEST(HttpUrl, AcceptedForms) {
  const struct {
    const char *text, *origin, *target;
  } cases[] = {
      {"https://Hub.example", "https://hub.example:443", "/"},
      {"http://127.0.0.1:8080/a/b?c=d#e", "http://127.0.0.1:8080", "/a/b?c=d"},
      {"https://[::1]:81?x", "https://[::1]:81", "/?x"},
      {"https://h/a%2Fb?s=a+b,c;d", "https://h:443", "/a%2Fb?s=a+b,c;d"},
  };
  for (const auto& item : cases) {
    ASSERT_OK_AND_ASSIGN(const HttpUrl url, ParseHttpUrl(item.text));
    EXPECT_EQ(url.Origin(), item.origin);
    EXPECT_EQ(url.target, item.target);
  }
}

TEST(HttpUrl, RefusedForms) {
  for (const char* text :
       {"", "hub", "ftp://h/a", "https://", "https:///a", "https://user@h/", "https://h:0/", "https://h:x/",
        "https://h:99999/", "https://h/a b", "https://h/a\nb", "https://h\\a/"}) {
    EXPECT_THAT(ParseHttpUrl(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(HttpUrl, LoopbackIsAnAddressAndNoPrefix) {
  for (const char* host : {"localhost", "127.0.0.1", "127.1.2.3", "::1"}) {
    EXPECT_TRUE((HttpUrl{"http", host, 80, "/"}).IsLoopback()) << host;
  }
  for (const char* host : {"127.evil.example", "localhost.evil.example", "10.0.0.1", "128.0.0.1"}) {
    EXPECT_FALSE((HttpUrl{"http", host, 80, "/"}).IsLoopback()) << host;
  }
}

TEST(HttpUrl, LocationsOfAllForms) {
  const HttpUrl base{"https", "h", 443, "/a/b?q=/x"};
  const struct {
    const char *location, *origin, *target;
  } cases[] = {
      {"http://other:1/c?u=http://x", "http://other:1", "/c?u=http://x"},
      {"//other/c", "https://other:443", "/c"},
      {"/c?u=https://x", "https://h:443", "/c?u=https://x"},
      {"c", "https://h:443", "/a/c"},
  };
  for (const auto& item : cases) {
    ASSERT_OK_AND_ASSIGN(const HttpUrl url, ResolveLocation(base, item.location));
    EXPECT_EQ(url.Origin(), item.origin);
    EXPECT_EQ(url.target, item.target);
  }
  EXPECT_FALSE(ResolveLocation(base, "").ok());
  EXPECT_FALSE(ResolveLocation(base, "file:///etc/passwd").ok());
}

TEST(HttpUrl, EncodesEverythingThatCouldMeanSomething) {
  EXPECT_EQ(EncodePath("refs/pr/1", /*keep_slashes=*/false), "refs%2Fpr%2F1");
  EXPECT_EQ(EncodePath("a b/c+?#%\xc3\xa9", /*keep_slashes=*/true), "a%20b/c%2B%3F%23%25%C3%A9");
}

}  // namespace
}  // namespace quantmoe
