import java.net.URI;
import java.util.Arrays;
import java.util.UUID;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.ActivationsApi;
import org.openapitools.client.api.CompanyAccountsApi;
import org.openapitools.client.api.PromosApi;
import org.openapitools.client.api.UserAccountsApi;
import org.openapitools.client.auth.HttpBearerAuth;
import org.openapitools.client.model.CompanySignUp;
import org.openapitools.client.model.ErrorBody;
import org.openapitools.client.model.PromoCreate;
import org.openapitools.client.model.PromoCreateUnique;
import org.openapitools.client.model.PromoListed;
import org.openapitools.client.model.PromoSortKey;
import org.openapitools.client.model.TargetWrite;
import org.openapitools.client.model.UniqueMode;
import org.openapitools.client.model.UserOtherWrite;
import org.openapitools.client.model.UserSignUp;

/**
 * The story of a promo, with the Java client that openapi-generator generates from api.yml.
 *
 * test_generated_clients.py compiles this file with the client and runs it with the URL of a server. It prints the code
 * that the user got.
 */
public final class Story {
  private static final String PASSWORD = "Str0ng&Hot";

  public static void main(String[] arguments) throws Exception {
    ApiClient client = new ApiClient().setBasePath(arguments[0]);

    // A company signs up, publishes one code, and finds it in its list.
    CompanySignUp company =
        new CompanySignUp().name("Northern Coffee").email("java@coffee.example").password(PASSWORD);
    signIn(client, "companyAuth", new CompanyAccountsApi(client).signUp(company).getToken());
    PromosApi promos = new PromosApi(client);
    PromoCreateUnique unique =
        new PromoCreateUnique()
            .mode(UniqueMode.UNIQUE)
            .promoUnique(Arrays.asList("BEAN-JAVA"))
            .maxCount(1)
            .description("A free espresso")
            .imageUrl(URI.create("https://coffee.example/images/cup.png"))
            .target(new TargetWrite().country("fr").categories(Arrays.asList("coffee")));
    UUID id = promos.createPromo(new PromoCreate(unique), null).getId();
    PromoListed listed = promos.listPromos(null, null, null, PromoSortKey.ACTIVE_FROM).get(0);
    require(listed.getPromoListedUnique().getPromoId().equals(id), "the promo is listed");

    // A user signs up and activates the promo. A second activation is refused with a code and the reasons.
    UserSignUp user =
        new UserSignUp()
            .name("Marie")
            .surname("Blanc")
            .email("java@mail.example")
            .password(PASSWORD)
            .other(new UserOtherWrite().age(34).country("fr"));
    signIn(client, "userAuth", new UserAccountsApi(client).signUp(user).getToken());
    ActivationsApi activations = new ActivationsApi(client);
    String code = activations.activatePromo(id, "story").getPromo();
    try {
      activations.activatePromo(id, null);
      require(false, "a second activation is refused");
    } catch (ApiException refusal) {
      ErrorBody body = ErrorBody.fromJson(refusal.getResponseBody());
      require(refusal.getCode() == 403 && body.getCode().equals("promo_exhausted"), "the refusal has a code");
      require(body.getReasons().contains("exhausted"), "the refusal has reasons");
    }

    // The client accepts the members and values of later versions.
    ErrorBody later =
        ErrorBody.fromJson(
            "{\"status\": \"error\", \"code\": \"later\", \"message\": \"Later.\", \"later\": \"new\"}");
    require(later.getAdditionalProperty("later").equals("new"), "the client has the new member");
    System.out.println(code);
  }

  private static void signIn(ApiClient client, String scheme, String token) {
    ((HttpBearerAuth) client.getAuthentication(scheme)).setBearerToken(token);
  }

  private static void require(boolean holds, String what) {
    if (!holds) {
      throw new IllegalStateException("not true: " + what);
    }
  }
}
