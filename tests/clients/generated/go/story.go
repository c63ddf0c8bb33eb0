// The story of a promo, with the Go client that openapi-generator generates from api.yml.
//
// test_generated_clients.py compiles this file with the client and runs it with the URL of a server. It prints the code
// that the user got.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	promo "example.com/promo/client"
)

const password = "Str0ng&Hot"

func main() {
	configuration := promo.NewConfiguration()
	configuration.Servers[0].URL = os.Args[1]
	client := promo.NewAPIClient(configuration)

	// A company signs up, publishes one code, and finds it in its list.
	companyToken, _, err := client.CompanyAccountsAPI.SignUp(context.Background()).
		CompanySignUp(*promo.NewCompanySignUp("Northern Coffee", "go@coffee.example", password)).Execute()
	check(err)
	company := signedIn(companyToken.Token)
	target := promo.TargetWrite{Country: promo.PtrString("fr"), Categories: []string{"coffee"}}
	unique := promo.NewPromoCreateUnique(promo.UNIQUE, []string{"BEAN-GO"}, 1, "A free espresso", target)
	unique.ImageUrl = promo.PtrString("https://coffee.example/images/cup.png")
	created, _, err := client.PromosAPI.CreatePromo(company).
		PromoCreate(promo.PromoCreateUniqueAsPromoCreate(unique)).Execute()
	check(err)
	listed, _, err := client.PromosAPI.ListPromos(company).SortBy(promo.ACTIVE_FROM).Execute()
	check(err)
	require(listed[0].PromoListedUnique != nil && listed[0].PromoListedUnique.PromoId == created.Id, "the promo is listed")

	// A user signs up and activates the promo. A second activation is refused with a code and the reasons.
	other := *promo.NewUserOtherWrite(34, "fr")
	userToken, _, err := client.UserAccountsAPI.SignUp(context.Background()).
		UserSignUp(*promo.NewUserSignUp("Marie", "Blanc", "go@mail.example", password, other)).Execute()
	check(err)
	user := signedIn(userToken.Token)
	activated, _, err := client.ActivationsAPI.ActivatePromo(user, created.Id).IdempotencyKey("story").Execute()
	check(err)
	_, response, err := client.ActivationsAPI.ActivatePromo(user, created.Id).Execute()
	var refusal *promo.GenericOpenAPIError
	require(errors.As(err, &refusal) && response.StatusCode == 403, "a second activation is refused")
	body, typed := refusal.Model().(promo.ErrorBody)
	require(typed && body.Code == "promo_exhausted" && body.Reasons[0] == "exhausted", "the refusal has a code and reasons")

	// The client accepts the members and values of later versions.
	later := `{"status": "error", "code": "later", "message": "Later.", "reasons": ["later"], "later": {}}`
	check(json.Unmarshal([]byte(later), &body))
	fmt.Println(activated.Promo)
}

func signedIn(token string) context.Context {
	return context.WithValue(context.Background(), promo.ContextAccessToken, token)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func require(holds bool, what string) {
	if !holds {
		panic("not true: " + what)
	}
}
